// `penstock bench` against a real broker: it does what it says, and leaves nothing behind.

#include <signal.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/process.h"
#include "tests/support/project_paths.h"
#include "tests/support/temp_folder.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using testing::Process;
using testing::TempFolder;

const std::string kBin = BuildPath("bin/");

class BenchTest : public ::testing::Test {
 protected:
  BenchTest()
      : broker_({kBin + "penstock-broker", "--data-dir", folder_.path() + "/data", "--grpc.address", "127.0.0.1:0",
                 "--http.address", ""}) {
    const std::string line = broker_.WaitForLine("ready grpc=");
    EXPECT_FALSE(line.empty()) << broker_.output();
    address_ = "127.0.0.1:" + std::to_string(std::atoi(line.c_str() + line.find("grpc=") + 5));
  }
  // The whole output and the exit code of `penstock ARGUMENTS`. Standard error goes to the file err.
  std::pair<std::string, int> Penstock(const std::string& arguments) {
    Process process(
        {"/bin/sh", "-c",
         fmt::format("exec {}penstock --broker {} {} 2>{}/err", kBin, address_, arguments, folder_.path())});
    const int code = process.Wait();
    return {process.output(), code};
  }
  nlohmann::json Bench(const std::string& arguments) {
    const auto [output, code] = Penstock("bench " + arguments + " -o json");
    EXPECT_EQ(code, 0) << output;
    return nlohmann::json::parse(output, nullptr, false);
  }

  TempFolder folder_;
  Process broker_;
  std::string address_;
};

TEST_F(BenchTest, EveryScenarioTellsItsFiguresAndDeletesItsQueue) {
  for (const std::string scenario : {"enqueue", "drain", "both"}) {
    for (const std::string batch : {"1", "50"}) {
      const auto json = Bench(fmt::format("{} --tasks 2000 --producers 2 --in-flight 200 --batch {}", scenario, batch));
      EXPECT_EQ(json["scenario"], scenario);
      EXPECT_EQ(json["tasks"], 2000);
      EXPECT_EQ(json["enqueue_seconds"]["count"], 2000 / std::stoi(batch)) << "one latency a call";
      EXPECT_GT(json["tasks_per_second"], 0);
      EXPECT_GT(json["broker"]["cpu_seconds"], 0);
      EXPECT_GT(json["broker"]["syncs"], 0);
      EXPECT_EQ(json["machine"]["fdatasync_seconds"]["count"], 100);
    }
  }
  const auto json = Bench("latency --rate 500 --duration 1s --workers 2 --slots 4");
  EXPECT_EQ(json["tasks"], 500);
  EXPECT_EQ(json["start_seconds"]["count"], 500) << "the tasks before the measured ones are not counted";
  EXPECT_EQ(json["enqueue_seconds"]["count"], 500);
  EXPECT_EQ(Penstock("queue list -o name").first, "");
}

TEST_F(BenchTest, NothingIsSaidBesidesTheFigures) {
  EXPECT_EQ(Penstock("bench both --tasks 100").second, 0);
  std::ostringstream said;
  said << std::ifstream(folder_.path() + "/err").rdbuf();
  EXPECT_EQ(said.str(), "") << "the workers' log lines, for instance";
}

TEST_F(BenchTest, FiguresComeAsYamlToo) {
  const auto [output, code] = Penstock("bench enqueue --tasks 10 -o yaml");
  EXPECT_EQ(code, 0);
  EXPECT_THAT(output, HasSubstr("scenario: enqueue\ntasks: 10\n"));
  EXPECT_THAT(output, HasSubstr("\nbroker:\n  version: "));
}

TEST_F(BenchTest, CallersShareAConnectionAndQueuesShareTheTasks) {
  const auto json = Bench("both --tasks 1000 --callers 16 --queues 10");
  EXPECT_EQ(json["enqueue_seconds"]["count"], 1000);
  EXPECT_EQ(json["callers"], 16);
  EXPECT_EQ(json["queues"], 10);
  EXPECT_EQ(Penstock("queue list -o name").first, "");
  EXPECT_EQ(Penstock("bench enqueue --callers 4 --in-flight 4").second, 2);
}

TEST_F(BenchTest, FilledQueuesStay) {
  ASSERT_EQ(Penstock("bench fill --tasks 1000 --batch 100 --queues 2 --delay 1h").second, 0);
  EXPECT_EQ(Penstock("queue list -o name").first, "penstock-bench-1\npenstock-bench-2\n");
  EXPECT_THAT(Penstock("queue get penstock-bench-2 -o json").first, HasSubstr("\"scheduled\": \"500\""));
  EXPECT_EQ(Penstock("bench fill --tasks 10 --queues 2").second, 6) << "it would delete them";
  ASSERT_EQ(Penstock("bench fill --tasks 10 --queues 2 --force").second, 0);
  EXPECT_THAT(Penstock("queue get penstock-bench-2 -o json").first, HasSubstr("\"available\": \"5\""));
}

TEST_F(BenchTest, IdleWorkersAreCountedAndGo) {
  const auto json = Bench("idle --workers 20 --slots 1 --duration 500ms");
  EXPECT_EQ(json["workers"], 20);
  EXPECT_GE(json["broker"]["cores"], 0);
  EXPECT_TRUE(json["broker"].contains("memory_bytes_per_worker"));
  EXPECT_EQ(Penstock("queue list -o name").first, "");
}

TEST_F(BenchTest, QueueOfOthersIsNotTouched) {
  ASSERT_EQ(Penstock("enqueue mail mail.send hello").second, 0);
  EXPECT_EQ(Penstock("bench enqueue --tasks 10 --queue mail").second, 6);
  EXPECT_THAT(Penstock("queue get mail -o json").first, HasSubstr("\"available\": \"1\""));
  // Unless that is asked for.
  EXPECT_EQ(Penstock("bench enqueue --tasks 10 --queue mail --force").second, 0);
  EXPECT_EQ(Penstock("queue list -o name").first, "");
}

TEST_F(BenchTest, InterruptedOneDeletesItsQueue) {
  Process bench({kBin + "penstock", "--broker", address_, "bench", "latency", "--rate", "100", "--duration", "1h"});
  // It has begun when its worker is connected.
  while (bench.running() && Penstock("worker list -o name").first.empty()) std::this_thread::yield();
  bench.Signal(SIGINT);
  EXPECT_EQ(bench.Wait(), 1) << bench.output();
  EXPECT_THAT(bench.output(), HasSubstr("interrupted"));
  EXPECT_EQ(Penstock("queue list -o name").first, "");
}

}  // namespace
}  // namespace penstock
