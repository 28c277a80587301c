#include "worker/daemon/daemon_options.h"

#include "common/config/loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/project_paths.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

// Reads a configuration and returns what is wrong with it.
std::string Problems(const std::string& yaml, DaemonOptions* options) {
  OptionSet set;
  DeclareOptions(options, &set);
  ConfigErrors errors;
  auto node = ParseYaml(yaml, "worker.yaml");
  if (!node.ok()) return std::string(node.status().message());
  set.ReadYaml(*node, "", &errors);
  if (!errors.empty()) return errors.ToString();
  return options->Validate().ToString();
}

TEST(DaemonOptionsTest, ShippedConfigurationIsValid) {
  DaemonOptions options;
  OptionSet set;
  DeclareOptions(&options, &set);
  auto node = ReadYamlFile(SourcePath("deploy/worker.yaml"));
  ASSERT_TRUE(node.ok()) << node.status();
  ConfigErrors errors;
  set.ReadYaml(*node, "", &errors);
  EXPECT_EQ(errors.ToString(), "");
  EXPECT_EQ(options.Validate().ToString(), "");
  ASSERT_EQ(options.handlers.size(), 1u);
  EXPECT_EQ(options.handlers[0].options.max_concurrency, 2);
}

TEST(DaemonOptionsTest, CommandIsRead) {
  DaemonOptions options;
  EXPECT_EQ(Problems("queues: [q]\nhandlers:\n  - type: t\n    command: [/bin/cat, \"-\"]\n    payload: file\n"
                     "    reject_exit_codes: [1, 2]\n    environment:\n      A: b\n    kill_grace: 1s\n",
                     &options),
            "");
  const CommandOptions& command = options.handlers.at(0).command;
  EXPECT_THAT(command.command, ::testing::ElementsAre("/bin/cat", "-"));
  EXPECT_TRUE(command.payload_in_file);
  EXPECT_THAT(command.reject_exit_codes, ::testing::ElementsAre(1, 2));
  EXPECT_EQ(command.environment.at(0).second, "b");
  EXPECT_EQ(command.kill_grace, absl::Seconds(1));
}

TEST(DaemonOptionsTest, PluginOptionsBecomeJson) {
  DaemonOptions options;
  EXPECT_EQ(
      Problems("queues: [q]\nhandlers:\n  - plugin: /p.so\n    options:\n      folders: [/a]\n      n: 3\n", &options),
      "");
  EXPECT_EQ(options.handlers.at(0).options_json, R"({"folders":["/a"],"n":3})");
}

TEST(DaemonOptionsTest, NamesThatTheBrokerWouldRefuseAreNamed) {
  DaemonOptions options;
  EXPECT_THAT(Problems("queues: [q]\nhandlers:\n  - type: \"a b\"\n    command: [/bin/cat]\n", &options),
              HasSubstr("type may hold A-Z a-z 0-9 . _ : - / only, is 'a b'"));
  DaemonOptions other;
  EXPECT_THAT(Problems("queues: [\"q q\"]\nhandlers:\n  - type: t\n    command: [/bin/cat]\n", &other),
              HasSubstr("queues: a name may hold"));
}

TEST(DaemonOptionsTest, LabelsAreRead) {
  DaemonOptions options;
  EXPECT_EQ(Problems("queues: [q]\nlabels:\n  gpu: yes\n  zone: eu-1\nhandlers:\n  - plugin: /p.so\n", &options), "");
  EXPECT_THAT(options.worker.labels,
              ::testing::ElementsAre(::testing::Pair("gpu", "yes"), ::testing::Pair("zone", "eu-1")));
  DaemonOptions list, value, name;
  EXPECT_THAT(Problems("queues: [q]\nlabels: [gpu]\nhandlers:\n  - plugin: /p.so\n", &list),
              HasSubstr("worker.yaml:2: labels: write name: value lines"));
  EXPECT_THAT(Problems("queues: [q]\nlabels:\n  gpu: [a]\nhandlers:\n  - plugin: /p.so\n", &value),
              HasSubstr("labels: gpu must have a value"));
  EXPECT_THAT(Problems("queues: [q]\nlabels:\n  \"g u\": a\nhandlers:\n  - plugin: /p.so\n", &name),
              HasSubstr("labels: a key may hold"));
}

// What CheckHandlers says of one handler.
std::string CheckOf(const std::string& handler) {
  DaemonOptions options;
  EXPECT_EQ(Problems("queues: [q]\nhandlers:\n" + handler, &options), "");
  return CheckHandlers(options.handlers).ToString();
}

TEST(DaemonOptionsTest, ProgramsHaveToBeThereAndExecutable) {
  EXPECT_EQ(CheckOf("  - type: t\n    command: [/bin/sh]\n"), "");
  EXPECT_EQ(CheckOf("  - type: t\n    command: [sh]\n"), "") << "in a folder of PATH";
  EXPECT_EQ(CheckOf("  - type: t\n    command: [./sh]\n    directory: /bin\n"), "");
  EXPECT_THAT(CheckOf("  - type: t\n    command: [/no/such/program]\n"),
              HasSubstr("worker.yaml:3: handlers[0]: cannot run /no/such/program: No such file"));
  EXPECT_THAT(CheckOf("  - type: t\n    command: [no-such-program]\n"), HasSubstr("none of the folders of PATH"));
  EXPECT_THAT(CheckOf("  - type: t\n    command: [/bin]\n"), HasSubstr("cannot run /bin: it is no file"));
  EXPECT_THAT(CheckOf("  - type: t\n    command: [./sh]\n    directory: /etc\n"), HasSubstr("cannot run /etc/./sh"));
  EXPECT_THAT(CheckOf("  - type: t\n    command: [sh]\n    directory: /no/such\n"),
              HasSubstr("directory: /no/such is no folder"));
  EXPECT_THAT(CheckOf("  - type: t\n    command: [" + SourcePath("README.md") + "]\n"),
              HasSubstr("make it executable (chmod +x)"));
}

TEST(DaemonOptionsTest, PluginsHaveToLoadAndToBeSome) {
  EXPECT_THAT(CheckOf("  - plugin: /no/such.so\n"), HasSubstr("handlers[0]: cannot load the plug-in /no/such.so"));
  EXPECT_THAT(CheckOf("  - plugin: " + SourcePath("README.md") + "\n"), HasSubstr("cannot load the plug-in"));
  EXPECT_THAT(CheckOf("  - plugin: libm.so.6\n"), HasSubstr("is no plug-in: it defines no penstock_plugin_init"));
  EXPECT_EQ(CheckOf("  - plugin: " LAMBDA_PLUGIN "\n"), "");
}

TEST(DaemonOptionsTest, MistakesNameTheirLine) {
  struct Case {
    const char* yaml;
    const char* problem;
  };
  const Case cases[] = {
      {"queues: [q]\n", "handlers: name at least one"},
      {"queues: [q]\nhandlers: x\n", "worker.yaml:2"},
      {"queues: [q]\nhandlers:\n  - type: t\n", "worker.yaml:3: handlers[0]: set either plugin or command"},
      {"queues: [q]\nhandlers:\n  - command: [x]\n", "needs the type"},
      {"queues: [q]\nhandlers:\n  - type: t\n    command: [x]\n  - type: t\n    command: [y]\n",
       "worker.yaml:5: handlers[1]: type t has a handler already"},
      {"queues: [q]\nhandlers:\n  - type: t\n    comand: [x]\n", "comand"},
      {"queues: [q]\nhandlers:\n  - type: t\n    command: [x]\n    reject_exit_codes: [0]\n", "no exit code"},
      {"handlers:\n  - plugin: /p.so\n", "queues: name at least one queue"},
  };
  for (const Case& test : cases) {
    DaemonOptions options;
    EXPECT_THAT(Problems(test.yaml, &options), HasSubstr(test.problem)) << test.yaml;
  }
}

}  // namespace
}  // namespace penstock
