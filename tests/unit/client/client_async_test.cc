// Futures and callbacks of the client, and what it repeats by itself.

#include <atomic>
#include <future>
#include <map>
#include <vector>

#include "broker/test_broker.h"
#include "client/client.h"
#include "common/mutex.h"
#include "gtest/gtest.h"
#include "tests/unit/client/scripted_broker.h"

namespace penstock {
namespace {

class ClientAsyncTest : public ::testing::Test {
 protected:
  std::unique_ptr<TestBroker> broker_ = TestBroker::Start({.time_runs = true}).value();
  std::unique_ptr<Client> client_ = Client::Connect(broker_->address()).value();
};

TEST_F(ClientAsyncTest, ManyTasksAreEnqueuedWithoutWaiting) {
  std::vector<std::future<absl::StatusOr<std::vector<EnqueueResult>>>> futures;
  for (int i = 0; i < 20; ++i) {
    futures.push_back(client_->EnqueueManyFuture(std::vector<NewTask>(50, NewTask{"mail", "send", "x", {}})));
  }
  for (auto& future : futures) {
    auto results = future.get();
    ASSERT_TRUE(results.ok()) << results.status();
    EXPECT_EQ(results->size(), 50u);
  }
  std::promise<absl::Status> refused;
  client_->EnqueueManyAsync({NewTask{"mail", "send", "x", {}}, NewTask{"", "send", "x", {}}},
                            [&](auto results) { refused.set_value(results.status()); });
  EXPECT_EQ(refused.get_future().get().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientAsyncTest, ThousandsOfTasksAreWaitedForAndOthersStillCall) {
  // More than a broker takes calls on one connection.
  auto enqueued = client_->EnqueueMany(std::vector<NewTask>(1'300, NewTask{"mail", "send", "x", {}}));
  ASSERT_TRUE(enqueued.ok()) << enqueued.status();
  std::vector<std::future<absl::StatusOr<TaskInfo>>> waits;
  for (const EnqueueResult& result : *enqueued) waits.push_back(client_->WaitFuture(result.id, absl::Hours(1)));
  for (const EnqueueResult& result : *enqueued) ASSERT_TRUE(client_->CancelTask(result.id).value());
  for (auto& wait : waits) {
    auto task = wait.get();
    ASSERT_TRUE(task.ok()) << task.status();
    EXPECT_EQ(task->state, TaskState::kCancelled);
  }
}

TEST_F(ClientAsyncTest, WaitEndsAtItsTimeWithTheTaskAsItIs) {
  const TaskId id = client_->Enqueue("mail", "send", "x").value();
  EXPECT_EQ(client_->WaitFuture(id, absl::Milliseconds(20)).get()->state, TaskState::kAvailable);
  EXPECT_EQ(client_->WaitFuture(TaskId(0, 1 << 30, 0), absl::Hours(1)).get().status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ClientAsyncTest, WaitsOutliveARestartOfTheBroker) {
  const TaskId id = client_->Enqueue("mail", "send", "x").value();
  auto wait = client_->WaitFuture(id, absl::Hours(1));
  for (int i = 0; i < 3; ++i) broker_->Restart();
  EXPECT_TRUE(client_->CancelTask(id).value());
  auto task = wait.get();
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->state, TaskState::kCancelled);
}

TEST_F(ClientAsyncTest, DestroyedClientFailsWaits) {
  const TaskId id = client_->Enqueue("mail", "send", "x").value();
  auto wait = client_->WaitFuture(id, absl::Hours(1));
  broker_->Stop();
  auto pausing = client_->WaitFuture(id, absl::Hours(1));
  client_.reset();
  EXPECT_EQ(wait.get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(pausing.get().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientAsyncTest, CallsThatBlockAreRefusedInACallback) {
  const TaskId id = client_->Enqueue("mail", "send", "x").value();
  auto try_all = [&] {
    EXPECT_EQ(client_->Enqueue("mail", "send", "x").status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(client_->EnqueueMany({NewTask{"mail", "send", "x", {}}}).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(client_->WaitTask(id, absl::Hours(1)).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(client_->GetTask(id).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(client_->CancelTask(id).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(client_->RetryTask(id).code(), absl::StatusCode::kFailedPrecondition);
  };
  std::promise<void> enqueued, refused, waited;
  client_->EnqueueAsync(NewTask{"mail", "send", "x", {}}, [&](auto result) {
    EXPECT_TRUE(result.ok());
    try_all();
    enqueued.set_value();
  });
  // On this thread.
  client_->EnqueueAsync(NewTask{"", "send", "x", {}}, [&](auto result) {
    try_all();
    refused.set_value();
  });
  client_->WaitAsync(id, absl::ZeroDuration(), [&](auto task) {
    EXPECT_TRUE(task.ok());
    try_all();
    waited.set_value();
  });
  enqueued.get_future().wait();
  refused.get_future().wait();
  waited.get_future().wait();
  // Outside of callbacks all is as ever.
  EXPECT_TRUE(client_->CancelTask(id).value());
}

TEST_F(ClientAsyncTest, CallbacksMayEnqueueAndWait) {
  // Each answer hands over the next task; the last one waits for its own end.
  std::promise<TaskState> ended;
  std::function<void(int)> next = [&](int left) {
    client_->EnqueueAsync(NewTask{"mail", "send", "x", {}}, [&, left](absl::StatusOr<EnqueueResult> result) {
      ASSERT_TRUE(result.ok()) << result.status();
      if (left > 0) return next(left - 1);
      client_->WaitAsync(result->id, absl::Milliseconds(1), [&](absl::StatusOr<TaskInfo> task) {
        ASSERT_TRUE(task.ok()) << task.status();
        ended.set_value(task->state);
      });
    });
  };
  next(50);
  EXPECT_EQ(ended.get_future().get(), TaskState::kAvailable);
}

// --- What is repeated while the broker is away ---

class RepeatedCallTest : public ::testing::Test {
 protected:
  RepeatedCallTest() {
    // Every method is refused three times, as by a broker that stops and starts.
    broker_.on_call = [this](const std::string& method) {
      MutexLock lock(mu_);
      const int call = ++calls_[method];
      if (call == 1) return grpc::Status::CANCELLED;
      return call <= 3 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the broker stops") : grpc::Status::OK;
    };
  }
  std::unique_ptr<Client> Connect(WhenUnavailable when) {
    ClientOptions options;
    options.broker = broker_.address();
    options.when_unavailable = when;
    options.reconnect_min = absl::Milliseconds(1);
    options.reconnect_max = absl::Milliseconds(10);
    return Client::Connect(options).value();
  }

  Mutex mu_;
  std::map<std::string, int> calls_ ABSL_GUARDED_BY(mu_);
  testing::ScriptedBroker broker_;
};

TEST_F(RepeatedCallTest, WithWaitACallIsRepeatedUntilTheBrokerIsBack) {
  auto client = Connect(WhenUnavailable::kWait);
  const TaskId id(0, 1, 0);
  EXPECT_TRUE(client->GetTask(id).ok());
  EXPECT_TRUE(client->CancelTask(id).ok());
  EXPECT_TRUE(client->RetryTask(id).ok());
  EXPECT_TRUE(client->WaitTask(id, absl::Hours(1)).ok());
  MutexLock lock(mu_);
  EXPECT_EQ(calls_, (std::map<std::string, int>{{"CancelTask", 4}, {"GetTask", 4}, {"RetryTask", 4}, {"WaitTask", 4}}));
}

TEST_F(RepeatedCallTest, AWatchThatABrokerCancelsHasLostItsBroker) {
  auto client = Connect(WhenUnavailable::kWait);
  std::promise<absl::Status> told;
  const auto watch = client->Watch(TaskId(0, 1, 0), [&](const auto& task) { told.set_value(task.status()); });
  const absl::Status status = told.get_future().get();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

TEST_F(RepeatedCallTest, WithFailFastItFailsAtOnce) {
  auto client = Connect(WhenUnavailable::kFailFast);
  const TaskId id(0, 1, 0);
  EXPECT_EQ(client->GetTask(id).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client->CancelTask(id).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client->RetryTask(id).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client->WaitTask(id, absl::Hours(1)).status().code(), absl::StatusCode::kUnavailable);
  MutexLock lock(mu_);
  EXPECT_EQ(calls_, (std::map<std::string, int>{{"CancelTask", 1}, {"GetTask", 1}, {"RetryTask", 1}, {"WaitTask", 1}}));
}

}  // namespace
}  // namespace penstock
