// Restarts of the real broker under many workers; and that the harness of penstock-chaos finds mistakes.

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "common/logging.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/chaos/chaos_broker.h"
#include "tests/chaos/chaos_round.h"
#include "tests/chaos/producer_actor.h"
#include "tests/support/project_paths.h"
#include "tests/support/temp_folder.h"

namespace penstock::chaos {
namespace {

using histcheck::Op;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Pair;
using testing::Process;
using ::testing::SizeIs;
using testing::TempFolder;

const std::string kBin = BuildPath("bin");
constexpr absl::Duration kLong = absl::Minutes(4);

// 100 workers, 25 in a process, each with one slot.
class HundredWorkersTest : public ::testing::TestWithParam<int> {
 protected:
  static constexpr int kProcesses = 4;
  static constexpr int kWorkers = 100;

  HundredWorkersTest() : broker_(kBin, folder_.path() + "/data", {"--shutdown-grace", "1s"}) {
    EXPECT_TRUE(broker_.Start().ok());
    for (int i = 0; i < kProcesses; ++i) {
      processes_.push_back(std::make_unique<Process>(std::vector<std::string>{
          kBin + "/penstock-chaos-actor", "--history", History(i), "worker", "--broker", broker_.address(), "--name",
          fmt::format("w{}", i), "--workers", std::to_string(kWorkers / kProcesses), "--concurrency", "1", "--prefetch",
          "0", "--lease", "30", "--hold", Gate()}));
      EXPECT_FALSE(processes_.back()->WaitForLine("ready").empty()) << processes_.back()->output();
    }
  }
  std::string History(int process) const { return fmt::format("{}/w{}.jsonl", folder_.path(), process); }
  std::string Gate() const { return folder_.path() + "/gate"; }
  // How often each task's handler was called.
  std::map<uint64_t, int> Runs() const {
    std::map<uint64_t, int> runs;
    for (int i = 0; i < kProcesses; ++i) {
      std::ifstream in(History(i), std::ios::binary);
      std::stringstream whole;
      for (std::string line; std::getline(in, line) && !in.eof();) whole << line << "\n";
      histcheck::History history;
      std::string error;
      EXPECT_TRUE(histcheck::Read(whole, &history, &error)) << error;
      for (const auto& line : history) {
        if (line.op == Op::kStart && line.phase == histcheck::Phase::kNone) ++runs[line.task];
      }
    }
    return runs;
  }

  TempFolder folder_;
  ChaosBroker broker_;
  std::vector<std::unique_ptr<Process>> processes_;
};

TEST_P(HundredWorkersTest, NoTaskRunsTwiceWhenTheBrokerIsRestarted) {
  auto client = Client::Connect(broker_.address()).value();
  std::vector<TaskId> ids;
  // One for each worker, and some that wait.
  for (int i = 0; i < kWorkers + 20; ++i) {
    ids.push_back(client->Enqueue(kPlainQueue, kTypes[0], std::to_string(i)).value());
  }
  while (Runs().size() < kWorkers) std::this_thread::yield();
  for (int restart = 0; restart < 2; ++restart) {
    ASSERT_TRUE(broker_.End(GetParam())) << broker_.output();
    ASSERT_TRUE(broker_.Start().ok());
    // All are back and run what they ran.
    for (size_t back = 0; back < kWorkers;) {
      back = 0;
      for (const TaskId id : ids) back += client->GetTask(id).value().state == TaskState::kRunning ? 1 : 0;
      ASSERT_LE(back, static_cast<size_t>(kWorkers));
    }
  }
  std::ofstream(Gate()) << "open";
  for (const TaskId id : ids) {
    const absl::StatusOr<TaskInfo> task = client->WaitTask(id, kLong);
    ASSERT_TRUE(task.ok()) << task.status();
    EXPECT_EQ(task->state, TaskState::kCompleted);
    EXPECT_THAT(task->attempts, SizeIs(1));
  }
  for (auto& process : processes_) {
    process->Signal(SIGTERM);
    EXPECT_EQ(process->Wait(), 0) << process->output();
  }
  EXPECT_THAT(Runs(), SizeIs(ids.size()));
  EXPECT_THAT(Runs(), Each(Pair(::testing::_, 1)));
}

INSTANTIATE_TEST_SUITE_P(Signals, HundredWorkersTest, ::testing::Values(SIGKILL, SIGTERM),
                         [](const auto& how) { return how.param == SIGKILL ? "Killed" : "Terminated"; });

class ChaosRoundTest : public ::testing::Test {
 protected:
  RoundResult Run(Plant plant) {
    RoundOptions options;
    options.bin = kBin;
    options.folder = folder_.path();
    options.seed = 3;
    options.faults = 6;
    options.workers = 2;
    options.producers = 2;
    options.plant = plant;
    return ChaosRound(options).Run();
  }
  TempFolder folder_;
};

TEST_F(ChaosRoundTest, AProducerThatLiesIsFound) {
  const RoundResult result = Run(Plant::kLie);
  EXPECT_FALSE(result.passed);
  EXPECT_THAT(result.report, HasSubstr("loss: an acknowledged task is gone"));
  EXPECT_THAT(result.broken, Contains(Key("loss")));
}

TEST_F(ChaosRoundTest, ABrokerThatForgetsWhatItAcknowledgedIsFound) {
  const RoundResult result = Run(Plant::kForget);
  EXPECT_FALSE(result.passed);
  EXPECT_GE(result.faults.count("broker killed"), 1u);
  // Gone; or the ids of what is gone were given to others.
  EXPECT_THAT(result.broken, Contains(Key(AnyOf("loss", "nowhere")))) << result.report;
}

}  // namespace
}  // namespace penstock::chaos
