// The client against the real broker in this process.

#include "client/client.h"

#include <atomic>
#include <future>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "broker/test_broker.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "penstock/v1/task_service.grpc.pb.h"

namespace penstock {
namespace {

class ClientTest : public ::testing::Test {
 protected:
  std::unique_ptr<Client> Connect(ClientOptions options = {}) {
    options.broker = broker_->address();
    auto client = Client::Connect(options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // All that the broker says of a task, which a TaskInfo has not.
  v1::Task Read(TaskId id) {
    const auto stub =
        v1::TaskService::NewStub(grpc::CreateChannel(broker_->address(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    v1::GetTaskRequest request;
    request.set_task_id(id.ToString());
    request.set_include_payload(true);
    v1::GetTaskResponse response;
    EXPECT_TRUE(stub->GetTask(&context, request, &response).ok());
    return response.task();
  }

  std::unique_ptr<TestBroker> broker_ = TestBroker::Start({.time_runs = true}).value();
};

TEST_F(ClientTest, EnqueuedTaskIsFound) {
  auto client = Connect();
  auto id = client->Enqueue("mail", "send", "hello", {.priority = 7, .tags = {"x"}});
  ASSERT_TRUE(id.ok()) << id.status();
  auto task = client->GetTask(*id, true);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->state, TaskState::kAvailable);
  EXPECT_EQ(task->queue, "mail");
  EXPECT_EQ(task->type, "send");
  EXPECT_EQ(task->payload, "hello");
  EXPECT_EQ(task->waiting_reason, "no connected worker handles type send in queue mail");
}

TEST_F(ClientTest, DuplicateByUniqueKeyIsTheFirstTask) {
  auto client = Connect();
  auto first = client->Enqueue(NewTask{"mail", "send", "a", {.unique_key = "k"}});
  auto second = client->Enqueue(NewTask{"mail", "send", "b", {.unique_key = "k"}});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_FALSE(first->duplicate);
  EXPECT_TRUE(second->duplicate);
  EXPECT_EQ(first->id, second->id);
}

TEST_F(ClientTest, WrongFieldIsNamedWithoutAskingTheBroker) {
  broker_->Stop();
  auto client = Client::Connect("127.0.0.1:1").value();
  auto id = client->Enqueue("mail", "send", "x", {.priority = 10});
  EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(id.status()), "priority");
  EXPECT_EQ(FieldOf(client->Enqueue("no space", "send", "x").status()), "queue");
  broker_->Resume();
}

TEST_F(ClientTest, ManyConcurrentCallersGetTheirOwnTasks) {
  auto client = Connect();
  std::vector<std::thread> threads;
  std::vector<std::vector<TaskId>> ids(8);
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        auto id = client->Enqueue("mail", "send", std::to_string(t) + ":" + std::to_string(i));
        ASSERT_TRUE(id.ok()) << id.status();
        ids[static_cast<size_t>(t)].push_back(*id);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<TaskId> all;
  for (auto& some : ids) all.insert(some.begin(), some.end());
  EXPECT_EQ(all.size(), 800u);
  EXPECT_EQ(client->GetTask(ids[3][42], true)->payload, "3:42");
}

TEST_F(ClientTest, EnqueueManyIsAllOrNone) {
  auto client = Connect();
  std::vector<NewTask> tasks(3, NewTask{"mail", "send", "x", {}});
  auto results = client->EnqueueMany(tasks);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->size(), 3u);
  tasks[2].queue = "";
  EXPECT_EQ(client->EnqueueMany(tasks).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, RefusedCallDoesNotFailTheOthersOfItsFrame) {
  auto admin = v1::AdminService::NewStub(grpc::CreateChannel(broker_->address(), grpc::InsecureChannelCredentials()));
  auto client = Connect();
  ASSERT_TRUE(client->Enqueue("closed", "send", "x").ok());
  v1::DrainQueueRequest drain;
  drain.set_name("closed");
  v1::DrainQueueResponse drained;
  grpc::ClientContext context;
  ASSERT_TRUE(admin->DrainQueue(&context, drain, &drained).ok());
  std::vector<std::future<absl::StatusOr<EnqueueResult>>> futures;
  for (int i = 0; i < 60; ++i) {
    futures.push_back(client->EnqueueFuture(NewTask{i % 3 == 0 ? "closed" : "open", "send", "x", {}}));
  }
  for (int i = 0; i < 60; ++i) {
    auto result = futures[static_cast<size_t>(i)].get();
    if (i % 3 == 0) {
      EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition) << result.status();
    } else {
      EXPECT_TRUE(result.ok()) << result.status();
    }
  }
}

TEST_F(ClientTest, CallsSurviveARestartOfTheBroker) {
  auto client = Connect();
  std::atomic<bool> stop = false;
  std::vector<TaskId> ids;
  std::thread producer([&] {
    while (!stop) {
      auto id = client->Enqueue("mail", "send", std::to_string(ids.size()));
      ASSERT_TRUE(id.ok()) << id.status();
      ids.push_back(*id);
    }
  });
  for (int i = 0; i < 3; ++i) broker_->Restart();
  stop = true;
  producer.join();
  ASSERT_FALSE(ids.empty());
  // Every acknowledged task is there, once.
  EXPECT_EQ(std::set<TaskId>(ids.begin(), ids.end()).size(), ids.size());
  for (size_t i = 0; i < ids.size(); i += 1 + ids.size() / 50) {
    auto task = client->GetTask(ids[i], true);
    ASSERT_TRUE(task.ok()) << task.status();
    EXPECT_EQ(task->payload, std::to_string(i));
  }
}

TEST_F(ClientTest, FailFastSaysWhichBrokerIsAway) {
  broker_->Stop();
  ClientOptions options;
  options.broker = "127.0.0.1:1";
  options.when_unavailable = WhenUnavailable::kFailFast;
  auto client = Client::Connect(options).value();
  auto id = client->Enqueue("mail", "send", "x");
  EXPECT_EQ(id.status().code(), absl::StatusCode::kUnavailable) << id.status();
  EXPECT_THAT(std::string(id.status().message()), ::testing::HasSubstr("127.0.0.1:1"));
  broker_->Resume();
}

TEST_F(ClientTest, CallEndsAtItsDeadlineWhenTheBrokerIsAway) {
  auto client = Client::Connect("127.0.0.1:1").value();
  auto id = client->Enqueue("mail", "send", "x", {.timeout = absl::Milliseconds(200)});
  EXPECT_EQ(id.status().code(), absl::StatusCode::kDeadlineExceeded) << id.status();
  EXPECT_EQ(client->WaitTask(TaskId(0, 1, 0), absl::Milliseconds(200)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, DestroyedClientFailsWhatIsUnderWay) {
  auto client = Client::Connect("127.0.0.1:1").value();
  auto future = client->EnqueueFuture(NewTask{"mail", "send", "x", {}});
  client.reset();
  EXPECT_EQ(future.get().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, WaitEndsWhenTheTaskIsCancelled) {
  auto client = Connect();
  const TaskId id = client->Enqueue("mail", "send", "x").value();
  auto waiting = std::async(std::launch::async, [&] { return client->Wait<std::string>(id, absl::Minutes(5)); });
  EXPECT_TRUE(client->CancelTask(id, "not needed").value());
  EXPECT_EQ(waiting.get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(client->CancelTask(id).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ClientTest, AWaitingTaskBecomesWhatAChangeSaysAndKeepsTheRest) {
  auto client = Connect();
  const TaskId id = client
                        ->Enqueue("mail", "send", "old",
                                  {.key = "customer 7",
                                   .delay = absl::Hours(1),
                                   .expire_at = absl::Now() + absl::Hours(9),
                                   .headers = {{"trace", "a"}, {"user", "b"}},
                                   .tags = {"x"},
                                   .worker_labels = {{"gpu", "yes"}}})
                        .value();
  TaskChange change;
  change.payload = "new";
  change.headers = std::map<std::string, std::string>{{"trace", "c"}};
  change.start_within = absl::Minutes(5);
  change.life_timeout = absl::Hours(2);
  change.retry_policy = TaskRetryPolicy{.max_attempts = 3, .backoff = BackoffKind::kFixed};
  change.worker_labels.emplace();  // none any more
  change.revision = 0;
  const auto changed = client->UpdateTask(id, change);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->revision, 1);
  v1::Task task = Read(id);
  EXPECT_EQ(task.state(), v1::TASK_STATE_SCHEDULED);
  EXPECT_EQ(task.revision(), 1);
  task.mutable_spec()->clear_delay();
  EXPECT_EQ(task.spec().ShortDebugString(),
            "queue: \"mail\" type: \"send\" payload: \"new\" headers { key: \"trace\" value: \"c\" } retry_policy { "
            "max_attempts: 3 backoff: BACKOFF_FIXED } tags: \"x\" key: \"customer 7\" life_timeout { seconds: 7200 } "
            "start_within { seconds: 300 }");

  EXPECT_EQ(client->UpdateTask(id, change).status().code(), absl::StatusCode::kAborted);  // it is revision 1 by now
  TaskChange wrong;
  wrong.life_timeout = absl::Hours(24 * 366);
  wrong.priority = 9;
  EXPECT_EQ(FieldOf(client->UpdateTask(id, wrong).status()), "life_timeout");
  EXPECT_EQ(Read(id).revision(), 1);
  EXPECT_FALSE(Read(id).spec().has_priority());
  EXPECT_TRUE(client->CancelTask(id).ok());
  change.revision.reset();
  EXPECT_EQ(client->UpdateTask(id, change).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(client->UpdateTask(TaskId(0, 1, 99), change).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ClientTest, AChangedTaskDiesAsItsNewLimitSays) {
  broker_.reset();
  broker_ = TestBroker::Start().value();  // its time stands still
  auto client = Connect();
  const TaskId id = client->Enqueue("mail", "send", "x").value();
  TaskChange change;
  change.start_within = absl::Minutes(5);
  ASSERT_TRUE(client->UpdateTask(id, change).ok());
  broker_->Advance(absl::Minutes(6));
  const auto ended = client->WaitTask(id, absl::Minutes(1));
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state, TaskState::kDead);
  EXPECT_EQ(ended->dead_reason, "expired");
}

TEST_F(ClientTest, ADeletedTaskIsGoneAndWhoWaitsForItHearsOfIt) {
  auto client = Connect();
  const TaskId id = client->Enqueue("mail", "send", "x", {.unique_key = "k"}).value();
  auto waiting = client->WaitFuture(id, absl::Minutes(5));
  EXPECT_TRUE(client->DeleteTask(id).ok());
  EXPECT_EQ(waiting.get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(client->GetTask(id).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(client->DeleteTask(id).code(), absl::StatusCode::kNotFound);
  EXPECT_NE(client->Enqueue("mail", "send", "x", {.unique_key = "k"}).value(), id);  // its unique key is free
  const TaskId cancelled = client->Enqueue("mail", "send", "x").value();
  EXPECT_TRUE(client->CancelTask(cancelled).ok());
  EXPECT_TRUE(client->DeleteTask(cancelled).ok());
}

TEST_F(ClientTest, WatchTellsEveryStateUntilTheEnd) {
  auto client = Connect();
  const TaskId id = client->Enqueue("mail", "send", "x", {.delay = absl::Hours(1)}).value();
  std::promise<void> scheduled, ended;
  auto watch = client->Watch(id, [&](absl::StatusOr<TaskInfo> task) {
    ASSERT_TRUE(task.ok()) << task.status();
    if (task->state == TaskState::kScheduled) scheduled.set_value();
    if (task->finished()) ended.set_value();
  });
  scheduled.get_future().wait();
  EXPECT_TRUE(client->CancelTask(id).ok());
  ended.get_future().wait();
}

TEST_F(ClientTest, EndingAWatchTellsOfNoError) {
  auto client = Connect();
  const TaskId id = client->Enqueue("mail", "send", "x", {.delay = absl::Hours(1)}).value();
  for (int i = 0; i < 200; ++i) {
    std::atomic<int> errors = 0;
    std::promise<void> seen;
    auto watch = client->Watch(id, [&](absl::StatusOr<TaskInfo> task) {
      if (task.ok()) {
        seen.set_value();
      } else {
        ++errors;
      }
    });
    seen.get_future().wait();
    watch.reset();
    ASSERT_EQ(errors, 0);
  }
}

TEST_F(ClientTest, WatchMayBeEndedByItsOwnCallback) {
  auto client = Connect();
  const TaskId id = client->Enqueue("mail", "send", "x", {.delay = absl::Hours(1)}).value();
  std::promise<std::shared_ptr<void>> handle;
  std::future<std::shared_ptr<void>> handed = handle.get_future();
  std::promise<void> ended;
  handle.set_value(client->Watch(id, [&](absl::StatusOr<TaskInfo> task) {
    ASSERT_TRUE(task.ok()) << task.status();
    handed.get().reset();
    ended.set_value();
  }));
  ended.get_future().wait();
}

TEST_F(ClientTest, RetryRunsAScheduledTaskNow) {
  auto client = Connect();
  const TaskId id = client->Enqueue("mail", "send", "x", {.delay = absl::Hours(1)}).value();
  EXPECT_EQ(client->GetTask(id)->state, TaskState::kScheduled);
  EXPECT_TRUE(client->RetryTask(id).ok());
  EXPECT_EQ(client->GetTask(id)->state, TaskState::kAvailable);
}

}  // namespace
}  // namespace penstock
