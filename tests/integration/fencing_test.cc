// A store that keeps fencing tokens (worker/examples/fenced_store.cc), and a worker that writes when it has lost its
// task: frozen, or cut off.

#include <signal.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "client/client.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/project_paths.h"
#include "tests/support/tcp_relay.h"
#include "tests/support/temp_folder.h"
#include "worker/examples/fenced_ledger.h"

namespace penstock {
namespace {

using examples::FencedLedger;
using ::testing::HasSubstr;
using testing::Process;
using testing::TcpRelay;
using testing::TempFolder;

constexpr absl::Duration kLong = absl::Minutes(3);
const std::string kBin = BuildPath("bin/");

class FencingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    broker_ = std::make_unique<Process>(std::vector<std::string>{kBin + "penstock-broker", "--data-dir",
                                                                 folder_ / "data", "--grpc.address", "127.0.0.1:0",
                                                                 "--http.address", "", "--sessions.grace", "0"});
    const std::string line = broker_->WaitForLine("ready grpc=");
    ASSERT_FALSE(line.empty()) << broker_->output();
    port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
    client_ = Client::Connect(address()).value();
  }
  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }
  // Waits in its handler until Go; without `waits`, never.
  std::unique_ptr<Process> StartWorker(const std::string& broker, bool waits) {
    std::vector<std::string> command = {kBin + "fenced_store", broker, folder_ / "ledger.db"};
    if (waits) command.push_back(folder_ / "go");
    auto worker = std::make_unique<Process>(command);
    EXPECT_FALSE(worker->WaitForLine("connected").empty()) << worker->output();
    return worker;
  }
  void Go() { std::ofstream(folder_ / "go") << "go"; }
  FencedLedger::Entry Entry() { return FencedLedger::Open(folder_ / "ledger.db")->Read("ann").value(); }
  // Two runs of the task, of which the first was lost.
  void ExpectSecondRunCounts(TaskId id) {
    const TaskInfo task = client_->GetTask(id).value();
    EXPECT_EQ(task.state, TaskState::kCompleted);
    ASSERT_EQ(task.attempts.size(), 2u);
    EXPECT_EQ(task.attempts[0].outcome, "lost");
    EXPECT_EQ(task.attempts[1].outcome, "completed");
  }

  TempFolder folder_;
  std::unique_ptr<Process> broker_;
  int port_ = 0;
  std::unique_ptr<Client> client_;
};

TEST_F(FencingTest, FrozenWorkerThatWritesLateIsRefusedByTheStore) {
  auto frozen = StartWorker(address(), true);
  const TaskId id = client_->Enqueue("ledger", "ledger.set_balance", "ann 120").value();
  ASSERT_FALSE(frozen->WaitForLine("working on ann").empty());
  frozen->Signal(SIGSTOP);
  auto current = StartWorker(address(), false);
  EXPECT_FALSE(current->WaitForLine("booked ann").empty());
  EXPECT_EQ(client_->Wait<std::string>(id, kLong).value(), "booked");
  const FencedLedger::Entry entry = Entry();
  EXPECT_EQ(entry.balance, 120);
  Go();
  frozen->Signal(SIGCONT);
  EXPECT_THAT(frozen->WaitForLine("refused"), HasSubstr("a newer run has written account ann"));
  EXPECT_EQ(Entry().fence, entry.fence) << "the current run's";
  ExpectSecondRunCounts(id);
}

TEST_F(FencingTest, WorkerThatWasCutOffWritesLateAndIsRefusedByTheStore) {
  TcpRelay relay(port_);
  auto cut_off = StartWorker(relay.address(), true);
  const TaskId id = client_->Enqueue("ledger", "ledger.set_balance", "ann 120").value();
  ASSERT_FALSE(cut_off->WaitForLine("working on ann").empty());
  relay.Refuse(true);
  relay.Cut();
  auto current = StartWorker(address(), false);
  EXPECT_FALSE(current->WaitForLine("booked ann").empty());
  EXPECT_EQ(client_->Wait<std::string>(id, kLong).value(), "booked");
  const FencedLedger::Entry entry = Entry();
  Go();
  EXPECT_FALSE(cut_off->WaitForLine("refused").empty());
  EXPECT_EQ(Entry().fence, entry.fence);
  ExpectSecondRunCounts(id);
}

// The guard is what refuses: without it the late write would count.
TEST_F(FencingTest, RunThatStillHasItsTaskWritesAsOftenAsItLikes) {
  FencedLedger ledger = FencedLedger::Open(folder_ / "ledger.db").value();
  EXPECT_TRUE(ledger.SetBalance("ann", 1, FencingToken(7)).ok());
  EXPECT_TRUE(ledger.SetBalance("ann", 2, FencingToken(7)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(ledger.SetBalance("ann", 3, FencingToken(6))));
  EXPECT_TRUE(ledger.SetBalance("ann", 4, FencingToken(8)).ok());
  EXPECT_EQ(ledger.Read("ann")->balance, 4);
}

}  // namespace
}  // namespace penstock
