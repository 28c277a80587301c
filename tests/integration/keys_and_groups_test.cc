// FIFO keys and groups from client to handler, over gRPC.

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "broker/test_broker.h"
#include "client/client.h"
#include "common/mutex.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "worker/worker.h"

namespace penstock {
namespace {

class KeysAndGroupsTest : public ::testing::Test {
 protected:
  TaskId Enqueue(const std::string& key, const std::string& payload, EnqueueOptions options = {}) {
    options.key = key;
    auto id = client_->Enqueue("orders", "t", payload, options);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(TaskId());
  }
  TaskState StateOf(TaskId id) { return client_->WaitTask(id, absl::Minutes(1)).value().state; }

  std::unique_ptr<TestBroker> broker_ = TestBroker::Start({.time_runs = true}).value();
  std::unique_ptr<Client> client_ = Client::Connect(broker_->address()).value();
  std::unique_ptr<v1::AdminService::Stub> admin_ =
      v1::AdminService::NewStub(grpc::CreateChannel(broker_->address(), grpc::InsecureChannelCredentials()));
};

TEST_F(KeysAndGroupsTest, TasksOfAKeyRunOneByOneInOrder) {
  Mutex mu;
  std::set<std::string> running;
  std::map<std::string, std::vector<int>> ran;
  bool together = false;
  Worker worker({.broker = broker_->address(), .queues = {"orders"}, .concurrency = 8});
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view payload) {
    const std::string key(payload.substr(0, 1));
    int number = 0;
    EXPECT_TRUE(absl::SimpleAtoi(absl::string_view(payload.data() + 1, payload.size() - 1), &number));
    {
      MutexLock lock(mu);
      if (!running.insert(key).second) together = true;
      ran[key].push_back(number);
    }
    MutexLock lock(mu);
    running.erase(key);
    return Outcome::Done("");
  });
  ASSERT_TRUE(worker.Start().ok());
  std::vector<TaskId> tasks;
  for (int i = 0; i < 20; ++i) {
    for (const char* key : {"a", "b", "c"}) {
      tasks.push_back(Enqueue(key, key + std::to_string(i), {.priority = i % 10}));
    }
  }
  for (TaskId task : tasks) EXPECT_EQ(StateOf(task), TaskState::kCompleted);
  worker.Stop();
  EXPECT_FALSE(together);
  std::vector<int> ascending;
  for (int i = 0; i < 20; ++i) ascending.push_back(i);
  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(ran[key], ascending) << key;
}

TEST_F(KeysAndGroupsTest, OperatorsSeeWhatHoldsAKeyAndReleaseIt) {
  Worker worker({.broker = broker_->address(), .queues = {"orders"}, .concurrency = 2});
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view payload) {
    if (payload == "fail") return Outcome::RetryAfter(absl::Hours(1), {"broken", "as asked for", ""});
    return Outcome::Done("");
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId failing = Enqueue("customer 7", "fail");
  const TaskId behind = Enqueue("customer 7", "done");
  v1::ListKeysRequest list;
  list.set_queue("orders");
  v1::ListKeysResponse keys;
  do {  // until it has failed
    grpc::ClientContext context;
    ASSERT_TRUE(admin_->ListKeys(&context, list, &keys).ok());
  } while (keys.keys_size() == 0 || keys.keys(0).state() != v1::TASK_STATE_RETRYABLE);
  EXPECT_EQ(keys.keys(0).key(), "customer 7");
  EXPECT_EQ(keys.keys(0).task_id(), failing.ToString());
  EXPECT_EQ(keys.keys(0).waiting(), 1u);
  EXPECT_TRUE(keys.keys(0).has_run_time());
  EXPECT_TRUE(keys.next_page_token().empty());
  const std::string reason = client_->GetTask(behind)->waiting_reason;
  EXPECT_TRUE(reason.starts_with("its key is held by task " + failing.ToString() + ", which runs again in ")) << reason;

  v1::ReleaseKeyRequest release;
  release.set_queue("orders");
  release.set_key("customer 7");
  v1::ReleaseKeyResponse released;
  grpc::ClientContext context;
  const grpc::Status status = admin_->ReleaseKey(&context, release, &released);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(StateOf(behind), TaskState::kCompleted);
  EXPECT_EQ(client_->GetTask(failing)->state, TaskState::kRetryable);
  grpc::ClientContext again;
  EXPECT_EQ(admin_->ReleaseKey(&again, release, &released).error_code(), grpc::StatusCode::NOT_FOUND);
  worker.Stop();
}

TEST_F(KeysAndGroupsTest, KeysSurviveARestart) {
  const TaskId first = Enqueue("k", "1");
  const TaskId second = Enqueue("k", "2");
  broker_->Restart();
  Mutex mu;
  std::vector<std::string> ran;
  Worker worker({.broker = broker_->address(), .queues = {"orders"}, .concurrency = 4});
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view payload) {
    MutexLock lock(mu);
    ran.emplace_back(payload);
    return Outcome::Done("");
  });
  ASSERT_TRUE(worker.Start().ok());
  EXPECT_EQ(StateOf(second), TaskState::kCompleted);
  EXPECT_EQ(StateOf(first), TaskState::kCompleted);
  worker.Stop();
  EXPECT_EQ(ran, (std::vector<std::string>{"1", "2"}));
}

TEST_F(KeysAndGroupsTest, ASmallGroupDoesNotWaitForAFlood) {
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(client_->Enqueue("orders", "t", "flood", {.group = "big"}).ok());
  }
  ASSERT_TRUE(client_->Enqueue("orders", "t", "small", {.group = "small"}).ok());
  Mutex mu;
  std::vector<std::string> ran;
  Worker worker({.broker = broker_->address(), .queues = {"orders"}, .concurrency = 1});
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view payload) {
    MutexLock lock(mu);
    ran.emplace_back(payload);
    return Outcome::Done("");
  });
  const TaskId last = client_->Enqueue("orders", "t", "flood", {.group = "big"}).value();
  ASSERT_TRUE(worker.Start().ok());
  EXPECT_EQ(StateOf(last), TaskState::kCompleted);
  worker.Stop();
  const auto small = std::find(ran.begin(), ran.end(), "small");
  ASSERT_NE(small, ran.end());
  // What is handed out in one go, and what the worker prefetches, may come before it.
  EXPECT_LT(small - ran.begin(), 10);
}

TEST_F(KeysAndGroupsTest, WrongWeightsAreRefusedAndNothingChanges) {
  v1::UpdateQueueRequest update;
  ASSERT_TRUE(client_->Enqueue("orders", "t", "").ok());
  update.mutable_queue()->set_name("orders");
  (*update.mutable_queue()->mutable_settings()->mutable_group_weights())["a"] = -1;
  update.mutable_queue()->mutable_settings()->set_dead_key_policy(v1::DEAD_KEY_POLICY_BLOCK);
  v1::UpdateQueueResponse updated;
  grpc::ClientContext context;
  const grpc::Status status = admin_->UpdateQueue(&context, update, &updated);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "queue.settings.group_weights: must be 0.001 to 1000, that of group a is -1");
  v1::GetQueueRequest get;
  get.set_name("orders");
  v1::GetQueueResponse queue;
  grpc::ClientContext get_context;
  ASSERT_TRUE(admin_->GetQueue(&get_context, get, &queue).ok());
  EXPECT_EQ(queue.queue().settings().dead_key_policy(), v1::DEAD_KEY_POLICY_RELEASE);
  EXPECT_TRUE(queue.queue().settings().group_weights().empty());
}

}  // namespace
}  // namespace penstock
