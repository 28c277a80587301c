// Command lines: help, mistakes, exit codes, completion.

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/app.h"
#include "common/status_details.h"
#include "common/version.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/cli/cli_fixture.h"
#include "yaml-cpp/yaml.h"

namespace penstock::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class UsageTest : public CliFixture {};

TEST_F(UsageTest, HelpHasExamplesFirstAndTheExitCodes) {
  const Ran ran = Run({"--help"});
  EXPECT_EQ(ran.code, 0);
  ExpectGolden("help.txt", ran.out);
  const Ran enqueue = Run({"enqueue", "--help"});
  EXPECT_EQ(enqueue.code, 0);
  ExpectGolden("help_enqueue.txt", enqueue.out);
}

TEST_F(UsageTest, EveryCommandHasHelpWithAnExample) {
  const auto commands = AllCommands();
  ASSERT_GT(commands.size(), 70u);
  for (std::vector<std::string> command : commands) {
    const std::string name = "penstock " + absl::StrJoin(command, " ");
    command.push_back("--help");
    const Ran ran = Run(command);
    EXPECT_EQ(ran.code, 0) << name;
    const size_t examples = ran.out.find("\nExamples:\n  ");
    const size_t usage = ran.out.find("\nUsage: " + name);
    EXPECT_NE(usage, std::string::npos) << ran.out;
    EXPECT_LT(examples, usage) << ran.out;
    // Among the examples, not only below them.
    if (examples < usage) {
      EXPECT_THAT(ran.out.substr(examples, usage - examples), HasSubstr(name));
    }
  }
}

// Whether text is one JSON value after another, at least one.
bool IsJson(const std::string& text) {
  std::istringstream in(text);
  int values = 0;
  while (in >> std::ws && !in.eof()) {
    nlohmann::json value;
    try {
      in >> value;
    } catch (const nlohmann::json::exception&) {
      return false;
    }
    ++values;
  }
  return values > 0;
}

// Whether every line of it is a JSON value. None is a list without items.
bool IsJsonLines(const std::string& text) {
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n', absl::SkipEmpty()))) {
    if (!nlohmann::json::accept(line)) return false;
  }
  return true;
}

bool IsYaml(const std::string& text) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    return !documents.empty() && std::all_of(documents.begin(), documents.end(),
                                             [](const YAML::Node& node) { return node.IsMap() || node.IsSequence(); });
  } catch (const YAML::Exception&) {
    return false;
  }
}

TEST_F(UsageTest, EveryCommandPrintsJsonAndYaml) {
  // Commands whose output is no data for programs, and why.
  const std::set<std::string> no_data = {
      "completion",                                  // prints a script
      "top",                                         // is a screen
      "bench enqueue", "bench drain", "bench both",  // load a real broker; their output is tested in bench_test
      "bench latency", "bench fill",  "bench idle",
  };
  // What else the others need to be called with. Commands that are not here need nothing.
  const std::string job = "b00063f4e1a2b3c";
  const std::map<std::string, std::vector<std::string>> arguments = {
      {"enqueue", {"mail", "mail.send", "{}"}},
      {"explain", {kScheduled}},
      {"task get", {kCompleted, kDead}},
      {"task cancel", {kScheduled}},
      {"task retry", {kDead}},
      {"task update", {kScheduled, "--priority", "9"}},
      {"task delete", {kScheduled}},
      {"task wait", {kCompleted, kCompleted}},
      {"task result", {kCompleted}},
      {"task tail", {kCompleted}},
      {"task payload", {kScheduled}},
      {"task checkpoint", {kScheduled}},
      {"queue get", {"mail"}},
      {"queue watch", {"mail"}},
      {"queue create", {"mail"}},
      {"queue update", {"mail", "--result-retention", "7d"}},
      {"queue pause", {"mail"}},
      {"queue resume", {"mail"}},
      {"queue drain", {"mail"}},
      {"queue purge", {"mail", "--yes"}},
      {"queue delete", {"mail", "--force", "--yes"}},
      {"dead show", {kDead}},
      {"dead redrive", {"--queue", "mail", "--all"}},
      {"dead purge", {"--queue", "mail", "--all", "--yes"}},
      {"bulk cancel", {"--queue", "mail", "--yes"}},
      {"bulk retry", {"--queue", "mail"}},
      {"bulk delete", {"--queue", "mail", "--yes"}},
      {"bulk get", {job}},
      {"bulk wait", {job}},
      {"bulk stop", {job}},
      {"schedule get", {"nightly"}},
      {"schedule create", {"nightly", "reports", "report.generate", "--every", "1h"}},
      {"schedule update", {"nightly", "--overlap", "skip"}},
      {"schedule pause", {"nightly"}},
      {"schedule resume", {"nightly"}},
      {"schedule run", {"nightly"}},
      {"schedule delete", {"nightly"}},
      {"schedule preview", {"--every", "1h"}},
      {"throttle get", {"mail-api"}},
      {"throttle create", {"mail-api", "--max-running", "10"}},
      {"throttle update", {"mail-api", "--max-running", "20"}},
      {"throttle delete", {"mail-api"}},
      {"key list", {"orders"}},
      {"key release", {"orders", "customer-42"}},
      {"worker drain", {"mailer@host7"}},
      {"backup verify", {"3"}},
      {"backup delete", {"3", "--yes"}},
  };
  v1::BulkJob& ended = broker.bulk_jobs.emplace_back();
  ended.set_job_id(job);
  ended.set_state(v1::BULK_JOB_STATE_DONE);
  ended.mutable_spec()->set_action(v1::BULK_ACTION_RETRY);
  broker.schedules.emplace_back().set_name("nightly");
  broker.throttles.emplace_back().set_name("mail-api");
  v1::HeldKey key;
  key.set_key("customer-42");
  key.set_task_id(kRunning);
  v1::TaskEvent* event = broker.events.emplace_back().add_events();
  event->set_task_id(kCompleted);
  event->set_state(v1::TASK_STATE_COMPLETED);
  for (v1::Task& task : broker.tasks) {
    if (task.task_id() == kScheduled) task.set_checkpoint("so far");
  }
  broker.explains[kScheduled].set_state(v1::TASK_STATE_SCHEDULED);

  const auto commands = AllCommands();
  std::set<std::string> groups;
  for (const auto& command : commands) {
    if (command.size() > 1) groups.insert(command[0]);
  }
  size_t ran_count = 0;
  for (const std::vector<std::string>& command : commands) {
    const std::string name = absl::StrJoin(command, " ");
    if (groups.contains(name) || no_data.contains(name)) continue;
    std::vector<std::string> call = command;
    if (const auto found = arguments.find(name); found != arguments.end()) {
      call.insert(call.end(), found->second.begin(), found->second.end());
      ++ran_count;
    }
    const struct {
      std::string format;
      bool (*is_it)(const std::string&);
    } formats[] = {{"json", IsJson}, {"jsonl", IsJsonLines}, {"yaml", IsYaml}};
    for (const auto& [format, is_it] : formats) {
      broker.keys = {key};  // a release takes it away
      std::vector<std::string> formatted = call;
      formatted.insert(formatted.end(), {"-o", format, "--timeout", "10s"});
      const Ran ran = Run(formatted);
      // 1: it has something to point out.
      EXPECT_LE(ran.code, 1) << name << ": " << ran.err;
      EXPECT_TRUE(is_it(ran.out)) << name << " -o " << format << " printed:\n" << ran.out << ran.err;
    }
  }
  EXPECT_EQ(ran_count, arguments.size()) << "arguments of a command that is not there";
}

TEST_F(UsageTest, WaitingForSeveralTasksPrintsThemAsGettingThem) {
  for (const char* format : {"json", "jsonl", "yaml", "name"}) {
    const Ran waited = Run({"task", "wait", kCompleted, kDead, "-o", format});
    EXPECT_EQ(waited.out, Run({"task", "get", kCompleted, kDead, "--payload", "-o", format}).out);
    EXPECT_NE(waited.out, "") << format;
  }
}

TEST_F(UsageTest, VersionIsPrinted) {
  EXPECT_EQ(Run({"--version"}).out, std::string("penstock ") + kVersion + "\n");
  EXPECT_EQ(Run({"version"}).out, std::string("penstock ") + kVersion + "\n");
  EXPECT_EQ(Run({"version", "-o", "json"}).out, std::string("{\n  \"version\": \"") + kVersion + "\"\n}\n");
  EXPECT_EQ(Run({"version", "-o", "jsonl"}).out, std::string("{\"version\":\"") + kVersion + "\"}\n");
  EXPECT_EQ(Run({"version", "-o", "yaml"}).out, std::string("version: \"") + kVersion + "\"\n");
  EXPECT_EQ(Run({"version", "-o", "name"}).out, std::string(kVersion) + "\n");
}

TEST_F(UsageTest, MistakesExitWith2AndSayWhatWasMeant) {
  const struct {
    std::vector<std::string> arguments;
    std::string error;
  } cases[] = {
      {{"statsu"}, "penstock: unknown command 'statsu'; did you mean status?\n"},
      {{"queue", "lst"}, "penstock: unknown command 'lst'; did you mean list?\n"},
      {{"queue", "frobnicate"}, "penstock: unknown command 'frobnicate'\n"},
      {{"status", "--outptu", "json"}, "penstock: unknown option '--outptu'; did you mean --output?\n"},
      {{"status", "extra"}, "penstock: unknown argument 'extra'\n"},
      {{"status", "-o", "xml"}, "penstock: --output: 'xml' is none of table|json|jsonl|yaml|name\n"},
      {{"status", "--timeout", "5x"},
       "penstock: --timeout: '5x' is no duration; write for instance 250ms, 30s, 5m, 1h30m or 7d\n"},
      {{"status", "--timeout", "0s"}, "penstock: --timeout: must be at least 1ms, is 0s\n"},
      {{"status", "--watch=0s"}, "penstock: --watch: must be at least 10ms, is 0s\n"},
      {{"top", "--every", "10ms"}, "penstock: --every: must be at least 100ms, is 10ms\n"},
      {{"enqueue", "q", "t", "--file", "/"}, "penstock: --file: cannot read /: Is a directory\n"},
      {{"enqueue", "q", "t", "--file", "/no/such"},
       "penstock: --file: cannot read /no/such: No such file or directory\n"},
      {{"enqueue", "q"}, "penstock: TYPE is required\n"},
      {{"enqueue", "q", "t", "--priority", "10"}, "penstock: --priority: '10' is no number from 0 to 9\n"},
      {{"enqueue", "q", "t", "--header", "x"}, "penstock: --header: 'x' is not KEY=VALUE\n"},
      {{"enqueue", "q", "t", "--run-at", "noon"}, "penstock: --run-at: 'noon' is no time; write for instance"},
      {{"enqueue", "q", "t", "x", "--stdin-lines"}, "penstock: say one of PAYLOAD, --file and --stdin-lines\n"},
      {{"enqueue", "q!", "t"}, "penstock: queue: may hold A-Z a-z 0-9 . _ : - / only, is 'q!'\n"},
      {{"status", "-o", "name"}, "penstock: this has no name: use another --output than name\n"},
      {{"bench", "enqueue", "-o", "name"}, "penstock: this has no name: use another --output than name\n"},
      {{"status", "--tls-cert", "x"}, "penstock: --tls-cert and --tls-key go together\n"},
      {{"status", "--tls-ca", "/no/such/file"}, "penstock: --tls-ca: cannot read /no/such/file\n"},
      {{"queue", "list", "--limit", "-1"}, "penstock: --limit: '-1' is no number from 0 on\n"},
      {{"task", "list", "--page-token", "x"},
       "penstock: --page-token: a token is a queue's, so --queue is needed with it\n"},
  };
  for (const auto& c : cases) {
    const Ran ran = Run(c.arguments);
    EXPECT_EQ(ran.code, 2) << c.error;
    EXPECT_EQ(ran.out, "") << c.error;
    EXPECT_THAT(ran.err, StartsWith(c.error));
  }
}

TEST_F(UsageTest, AGroupWithoutACommandShowsItsHelp) {
  const Ran ran = Run({"queue"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("Usage: penstock queue COMMAND"));
}

TEST_F(UsageTest, ArgumentsMayBeNamedLikeCommands) {
  const Ran ran = Run({"queue", "get", "status"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_EQ(ran.err, "penstock: there is no queue status\n");
  EXPECT_EQ(Run({"enqueue", "list", "get", "queue"}).code, 0);
}

TEST_F(UsageTest, PayloadsAreTakenAsTheyAre) {
  for (const std::string payload : {"{}", "[1,2]", "", "a b", "%%"}) {
    const std::string before = "Enqueue task { queue: \"q\" type: \"t\"";
    EXPECT_EQ(Run({"enqueue", "q", "t", payload}).code, 0);
    EXPECT_EQ(Calls().back(), before + (payload.empty() ? "" : absl::StrCat(" payload: \"", payload, "\"")) + " }");
  }
  EXPECT_EQ(Run({"enqueue", "q", "t", "--priority=1", "--", "--dashes"}).code, 0);
  EXPECT_THAT(Calls().back(), HasSubstr("payload: \"--dashes\""));
}

TEST_F(UsageTest, TheEnvironmentSetsWhatTheCommandLineDoesNot) {
  setenv("PENSTOCK_OUTPUT", "name", 1);
  EXPECT_EQ(Run({"queue", "list"}).out, "mail\nreports\n");
  EXPECT_THAT(Run({"queue", "list", "-o", "jsonl"}).out, StartsWith("{"));
  setenv("PENSTOCK_OUTPUT", "xml", 1);
  EXPECT_EQ(Run({"queue", "list"}).code, 2);
}

TEST_F(UsageTest, ExitCodesFollowTheStatusOfTheBroker) {
  const struct {
    absl::Status status;
    int code;
    std::string error;
  } cases[] = {
      {absl::OkStatus(), 0, ""},
      {absl::InternalError("broken"), 1, "penstock: broken\n"},
      {LimitReached("limits.queues", "too many queues"), 1,
       "penstock: too many queues (limit limits.queues; see penstock limits)\n"},
      {InvalidField("queue.name", "is empty"), 2, "penstock: queue.name: is empty\n"},
      {absl::NotFoundError("no such queue"), 3, "penstock: no such queue\n"},
      {absl::UnauthenticatedError("who are you"), 4, "penstock: who are you\n"},
      {absl::PermissionDeniedError("not you"), 4, "penstock: not you\n"},
      {absl::UnavailableError("stopping"), 5,
       "penstock: the broker at localhost:7420 is not available: stopping; try again\n"},
      // Nobody but a broker that stops cancels.
      {absl::CancelledError("CANCELLED"), 5,
       "penstock: the broker at localhost:7420 is not available: the broker cancelled the call, as one that stops "
       "does: "
       "CANCELLED; try again\n"},
      {absl::FailedPreconditionError("it has tasks"), 6, "penstock: it has tasks\n"},
      {absl::AlreadyExistsError("it exists"), 6, "penstock: it exists\n"},
      {absl::UnimplementedError("what"), 1,
       "penstock: localhost:7420 does not offer this; is it a Penstock broker of this version? (what)\n"},
  };
  for (const auto& c : cases) {
    broker.Fail("GetQueue", c.status);
    const Ran ran = Run({"queue", "get", "mail"});
    EXPECT_EQ(ran.code, c.code) << c.status;
    EXPECT_EQ(ran.err, c.error);
  }
}

// gRPC refuses it, with words of its own, before the broker sees it.
TEST_F(UsageTest, AMessageOverTheBrokersLimitIsARefusedArgument) {
  const std::string payload(5'000'000, 'x');
  testing::TempFolder folder;
  std::ofstream(folder / "payload") << payload;
  const Ran ran = Run({"enqueue", "q", "t", "--file", folder / "payload"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.err,
            "penstock: the request has 4.77 MiB, more than the broker takes in one message: 4 MiB (limit "
            "limits.message; see penstock limits)\n");
}

TEST_F(UsageTest, ABrokerThatIsNotThereIsNamedWithWhatToDo) {
  // Port 1 of this machine: nobody listens there.
  const Ran ran = RunAt("127.0.0.1:1", {"status"});
  EXPECT_EQ(ran.code, 5);
  EXPECT_EQ(ran.err,
            "penstock: cannot reach the broker at localhost:7420: connection refused; is penstock-broker running "
            "there? Another address: "
            "--endpoint or PENSTOCK_ENDPOINT\n");
  input = "one\ntwo\n";
  const Ran lines = RunAt("127.0.0.1:1", {"enqueue", "q", "t", "--stdin-lines", "--timeout", "300ms"});
  EXPECT_EQ(lines.code, 5);
  EXPECT_THAT(lines.err,
              StartsWith("penstock: line 1 and what follows it: cannot reach the broker at localhost:7420: "));
  EXPECT_THAT(lines.err, HasSubstr("\nenqueued 0 tasks"));
}

TEST_F(UsageTest, CompletionScriptsAreValidAndOfferWhatFits) {
  const Ran bash = Run({"completion", "bash"});
  EXPECT_EQ(bash.code, 0);
  ExpectGolden("completion.bash", bash.out);
  ExpectGolden("completion.zsh", Run({"completion", "zsh"}).out);
  ExpectGolden("completion.fish", Run({"completion", "fish"}).out);

  testing::TempFolder folder;
  std::ofstream(folder / "completion.bash") << bash.out;
  // A broker that has the queues mail and reports.
  std::ofstream(folder / "test.bash") << R"sh(
    source "$1/completion.bash"
    penstock() {
      [[ "$*" == 'queue list -o name --limit 0 --timeout 2s --endpoint host:1' ]] && printf '%s\n' mail reports
    }
    try() {
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
      _penstock
      echo "$* => ${COMPREPLY[*]}"
    }
    try penstock q
    try penstock queue p
    try penstock -e host : 1 queue get m
    try penstock queue get --broker = host : 1 r
    try penstock task list --state r
    try penstock task list --state = r
    try penstock task list --no-
    try penstock -o j
    try penstock completion ''
  )sh";
  testing::Process shell({"bash", folder / "test.bash", folder.path()});
  EXPECT_EQ(shell.Wait(), 0);
  EXPECT_EQ(shell.output(),
            "penstock q => queue\n"
            "penstock queue p => pause purge\n"
            "penstock -e host : 1 queue get m => mail\n"
            "penstock queue get --broker = host : 1 r => reports\n"
            "penstock task list --state r => running retryable\n"
            "penstock task list --state = r => running retryable\n"
            "penstock task list --no- => --no-headers\n"
            "penstock -o j => json jsonl\n"
            "penstock completion  => bash zsh fish\n");
  testing::Process syntax({"bash", "-n", folder / "completion.bash"});
  EXPECT_EQ(syntax.Wait(), 0) << syntax.output();
}

}  // namespace
}  // namespace penstock::cli
