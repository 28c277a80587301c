#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/unit/worker/report/fake_host.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

FakeHost LoadLambdas(const std::string& options = "{}") { return FakeHost(LAMBDA_PLUGIN, options); }

TEST(PluginAbiTest, PlainCPluginRunsTasks) {
  const FakeHost host(PLAIN_C_PLUGIN, R"({"a":1})");
  ASSERT_EQ(host.result(), 0) << host.error();
  EXPECT_EQ(host.name(), "counter");
  EXPECT_EQ(host.plugin().abi_version, PENSTOCK_PLUGIN_ABI_VERSION);
  EXPECT_THAT(host.types(), ElementsAre("count"));
  EXPECT_THAT(host.log(), ElementsAre(R"({"a":1})"));

  FakeTask task;
  task.type = "count";
  task.payload = std::string("a\0b", 3);
  task.headers = {{"trace", "t-1"}};
  FakeRun early;
  host.Run(task, &early);
  EXPECT_EQ(early.outcome, "retry_after");
  EXPECT_EQ(early.seconds, 2.5);
  EXPECT_EQ(early.label, "early");
  EXPECT_THAT(early.log, ElementsAre("t-1"));
  ASSERT_EQ(early.progress.size(), 1u);
  EXPECT_EQ(early.progress[0].first, 50);

  task.attempt = 41;
  FakeRun last;
  host.Run(task, &last);
  EXPECT_EQ(last.outcome, "done");
  EXPECT_EQ(last.text, task.payload);
}

TEST(PluginAbiTest, HandlerSeesCancellation) {
  const FakeHost host(PLAIN_C_PLUGIN);
  FakeTask task;
  task.type = "count";
  FakeRun run;
  run.cancelled = [](const FakeRun&) { return true; };
  host.Run(task, &run);
  EXPECT_EQ(run.outcome, "none");
}

TEST(PluginAbiTest, PluginsRefuseAHostOfAnotherVersion) {
  for (const char* path : {PLAIN_C_PLUGIN, LAMBDA_PLUGIN}) {
    const FakeHost host(path, "{}", PENSTOCK_PLUGIN_ABI_VERSION + 1);
    EXPECT_EQ(host.result(), 1);
    EXPECT_EQ(host.plugin().abi_version, PENSTOCK_PLUGIN_ABI_VERSION);
    EXPECT_THAT(host.types(), ElementsAre());
  }
}

TEST(PluginCppTest, TaskShowsAllThatTheHostGives) {
  const FakeHost host = LoadLambdas();
  ASSERT_EQ(host.result(), 0) << host.error();
  EXPECT_EQ(host.name(), "lambdas");
  FakeTask task;
  task.type = "done";
  task.payload = "pay";
  task.attempt = 3;
  task.headers = {{"x", "y"}, {"trace", "t-9"}};
  task.deadline_unix_micros = 1'800'000'000'000'001;
  FakeRun run;
  host.Run(task, &run);
  EXPECT_EQ(run.outcome, "done");
  EXPECT_EQ(run.label, "text/plain");
  EXPECT_EQ(run.text, "0100000000abc reports done 3/20 7 application/json pay t-9 - 1800000000000001");
}

TEST(PluginCppTest, EveryOutcomeReachesTheHost) {
  const FakeHost host = LoadLambdas();
  auto story = [&](const std::string& type) {
    FakeTask task;
    task.type = type;
    FakeRun run;
    host.Run(task, &run);
    EXPECT_EQ(run.outcomes_told, 1);
    return run.outcome + "|" + std::to_string(run.seconds) + "|" + run.label + "|" + run.text;
  };
  EXPECT_EQ(story("retry"), "retry|0.000000|busy|try again");
  EXPECT_EQ(story("retry_after"), "retry_after|1.500000|busy|try later");
  EXPECT_EQ(story("snooze"), "snooze|60.000000||");
  EXPECT_EQ(story("reject"), "reject|0.000000|format|unreadable");
}

TEST(PluginCppTest, WhatAnOlderHostDoesNotKnowIsToldToThePlugin) {
  const FakeHost host = LoadLambdas();
  FakeTask task;
  task.type = "enqueue";
  FakeRun run;
  host.Run(task, &run);
  EXPECT_EQ(run.text, "no no no");
  task.type = "resume";
  FakeRun resume;
  host.Run(task, &resume);
  EXPECT_EQ(resume.outcome, "retry_after") << "without what it cools";
  EXPECT_THAT(LoadLambdas(R"({"batch":true})").error(), HasSubstr("knows no batch handlers"));
}

TEST(PluginCppTest, ExceptionsBecomeARetryWithTheirType) {
  const FakeHost host = LoadLambdas();
  FakeTask task;
  task.type = "throw";
  FakeRun run;
  host.Run(task, &run);
  EXPECT_EQ(run.outcome, "retry");
  EXPECT_THAT(run.label, HasSubstr("LedgerError"));
  EXPECT_EQ(run.text, "page missing");

  task.type = "throw_number";
  FakeRun other;
  host.Run(task, &other);
  EXPECT_EQ(other.outcome, "retry");
  EXPECT_EQ(other.label, "exception");
}

TEST(PluginCppTest, RefusedPluginSaysWhy) {
  EXPECT_EQ(LoadLambdas(R"({"fail":true})").error(), "fail: is not allowed to be true");
  EXPECT_EQ(LoadLambdas(R"({"throw":true})").error(), "no ledger");
  const FakeHost twice = LoadLambdas(R"({"twice":true})");
  EXPECT_EQ(twice.result(), 1);
  EXPECT_EQ(twice.error(), "type 'done' is taken");
}

TEST(PluginCppTest, HandlersRunOnSeveralThreadsAtOnce) {
  const FakeHost host = LoadLambdas();
  std::vector<FakeRun> runs(8);
  std::vector<std::thread> threads;
  for (FakeRun& run : runs) {
    threads.emplace_back([&host, &run] {
      FakeTask task;
      task.type = "done";
      host.Run(task, &run);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const FakeRun& run : runs) EXPECT_EQ(run.outcome, "done");
}

}  // namespace
}  // namespace penstock
