// The test kit as its users have it: client, worker and broker in one process, and a clock that the test moves.

#include "broker/test_broker.h"

#include <atomic>
#include <future>

#include "client/client.h"
#include "gtest/gtest.h"
#include "worker/worker.h"

namespace penstock {
namespace {

constexpr absl::Duration kLong = absl::Minutes(2);

class TestBrokerTest : public ::testing::Test {
 protected:
  // Starts a worker that counts the runs of type "t"; the first `failures` of them fail.
  std::unique_ptr<Worker> StartWorker(int failures = 0) {
    auto worker =
        std::make_unique<Worker>(WorkerOptions{.broker = broker_->address(), .queues = {"q"}, .concurrency = 2});
    worker->RegisterRaw("t", [this, failures](TaskContext&, std::string_view) {
      return ++runs_ <= failures ? Outcome::Retry({"Error", "not yet", ""}) : Outcome::Done("ran");
    });
    EXPECT_TRUE(worker->Start().ok());
    return worker;
  }
  TaskState StateOf(TaskId id) { return client_->GetTask(id).value().state; }
  void Await(TaskId id, TaskState state) {
    std::promise<void> reached;
    bool done = false;
    auto watch = client_->Watch(id, [&](absl::StatusOr<TaskInfo> task) {
      if (done || !task.ok() || task->state != state) return;
      done = true;
      reached.set_value();
    });
    reached.get_future().wait();
  }

  std::unique_ptr<TestBroker> broker_ = TestBroker::Start().value();
  std::unique_ptr<Client> client_ = Client::Connect(broker_->address()).value();
  std::atomic<int> runs_ = 0;
};

TEST_F(TestBrokerTest, DelayedTaskRunsWhenTheTestSaysSo) {
  auto worker = StartWorker();
  const TaskId delayed = client_->Enqueue("q", "t", std::string("x"), {.delay = absl::Hours(24)}).value();
  // A task without delay passes it.
  const TaskId plain = client_->Enqueue("q", "t", std::string("x")).value();
  ASSERT_TRUE(client_->WaitTask(plain, kLong).ok());
  broker_->Advance(absl::Hours(24) - absl::Seconds(1));
  const TaskId second = client_->Enqueue("q", "t", std::string("x")).value();
  ASSERT_TRUE(client_->WaitTask(second, kLong).ok());
  EXPECT_EQ(StateOf(delayed), TaskState::kScheduled);
  EXPECT_EQ(runs_, 2);
  broker_->Advance(absl::Seconds(1));
  EXPECT_EQ(client_->WaitTask(delayed, kLong).value().state, TaskState::kCompleted);
  EXPECT_EQ(runs_, 3);
}

TEST_F(TestBrokerTest, BackoffEndsWhenTimeMoves) {
  auto worker = StartWorker(1);
  const TaskId id = client_->Enqueue("q", "t", std::string("x")).value();
  Await(id, TaskState::kRetryable);
  EXPECT_EQ(runs_, 1);
  broker_->Advance(absl::Hours(1));
  EXPECT_EQ(client_->WaitTask(id, kLong).value().state, TaskState::kCompleted);
  EXPECT_EQ(runs_, 2);
}

TEST_F(TestBrokerTest, DayThatIsSkippedTakesNothingFromAWorker) {
  std::promise<void> entered, leave;
  Worker worker({.broker = broker_->address(), .queues = {"q"}, .concurrency = 1});
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view) {
    ++runs_;
    entered.set_value();
    leave.get_future().wait();
    return Outcome::Done("ran");
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId id = client_->Enqueue("q", "t", std::string("x")).value();
  entered.get_future().wait();
  broker_->Advance(absl::Hours(24));
  leave.set_value();
  EXPECT_EQ(client_->WaitTask(id, kLong).value().state, TaskState::kCompleted);
  EXPECT_EQ(runs_, 1);
}

TEST_F(TestBrokerTest, RestartKeepsWhatWasAcknowledged) {
  const absl::Time before = broker_->now();
  const TaskId id = client_->Enqueue("q", "t", std::string("x"), {.delay = absl::Hours(1)}).value();
  const std::string address = broker_->address();
  broker_->Restart();
  EXPECT_EQ(broker_->address(), address);
  EXPECT_EQ(broker_->now(), before);
  EXPECT_EQ(StateOf(id), TaskState::kScheduled);
  auto worker = StartWorker();
  broker_->Advance(absl::Hours(1));
  EXPECT_EQ(client_->WaitTask(id, kLong).value().state, TaskState::kCompleted);
}

}  // namespace
}  // namespace penstock
