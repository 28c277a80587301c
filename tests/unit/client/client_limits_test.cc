// The client against the real broker with limits that a test sets: what is too much fails, and nothing else.

#include <atomic>
#include <future>
#include <set>
#include <thread>
#include <vector>

#include "broker/server.h"
#include "broker/storage/memory_store.h"
#include "client/client.h"
#include "common/clock.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

class ClientLimitsTest : public ::testing::Test {
 protected:
  void Start() {
    broker_options_.grpc.address = "127.0.0.1:0";
    broker_options_.http.address = "";
    auto server = broker::Server::StartOn(broker_options_, store_, SystemClock());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    options_.broker = "127.0.0.1:" + std::to_string(server_->grpc_port());
    client_ = Client::Connect(options_).value();
  }
  void ExpectTooLarge(const absl::Status& status, const std::string& field, const std::string& max) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(LimitOf(status), "limits.message");
    EXPECT_EQ(FieldOf(status), field);
    EXPECT_THAT(std::string(status.message()), HasSubstr(max));
  }

  broker::BrokerOptions broker_options_;
  broker::MemoryStore store_;
  std::unique_ptr<broker::Server> server_;
  ClientOptions options_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientLimitsTest, OnlyTheCallThatIsTooLargeFails) {
  for (const WhenUnavailable when : {WhenUnavailable::kWait, WhenUnavailable::kFailFast}) {
    options_.when_unavailable = when;
    Start();
    std::atomic<bool> stop = false;
    std::atomic<int> done = 0;
    std::vector<std::thread> others;
    Mutex mu;
    std::set<TaskId> ids;
    for (int i = 0; i < 4; ++i) {
      others.emplace_back([&] {
        while (!stop) {
          auto id = client_->Enqueue("mail", "send", std::string(1'000, 'x'));
          ASSERT_TRUE(id.ok()) << id.status();
          ++done;
          MutexLock lock(mu);
          ids.insert(*id);
        }
      });
    }
    while (done < 10) std::this_thread::yield();
    for (const size_t size : {size_t{5} << 20, size_t{4'200'000}, size_t{16} << 20}) {
      ExpectTooLarge(client_->Enqueue("mail", "send", std::string(size, 'x')).status(), "payload", "4,194,304");
    }
    ExpectTooLarge(
        client_->EnqueueMany(std::vector<NewTask>(6'000, NewTask{"mail", "send", std::string(1'000, 'x'), {}}))
            .status(),
        "tasks", "4,194,304");
    const int before = done;
    while (done < before + 10) std::this_thread::yield();
    stop = true;
    for (std::thread& other : others) other.join();
    EXPECT_EQ(ids.size(), static_cast<size_t>(done));
    client_.reset();
    server_->Stop();
  }
}

TEST_F(ClientLimitsTest, LimitThatTheOperatorLoweredIsLearnt) {
  broker_options_.limits.message = 256 << 10;
  broker_options_.limits.payload = 128 << 10;
  Start();
  // Frames would grow beyond what this broker takes.
  std::vector<std::future<absl::StatusOr<EnqueueResult>>> futures;
  for (int i = 0; i < 400; ++i) {
    futures.push_back(
        client_->EnqueueFuture(NewTask{"mail", "send", std::string(i == 200 ? 300'000 : 10'000, 'x'), {}}));
  }
  std::set<TaskId> ids;
  for (size_t i = 0; i < futures.size(); ++i) {
    auto result = futures[i].get();
    if (i == 200) {
      ExpectTooLarge(result.status(), "payload", "262,144");
    } else {
      ASSERT_TRUE(result.ok()) << result.status();
      ids.insert(result->id);
    }
  }
  EXPECT_EQ(ids.size(), 399u);
}

TEST_F(ClientLimitsTest, LimitThatTheOperatorRaisedCounts) {
  broker_options_.limits.message = 32 << 20;
  broker_options_.limits.payload = 16 << 20;
  Start();
  EXPECT_TRUE(client_->Enqueue("mail", "send", std::string(12 << 20, 'x')).ok());
}

TEST_F(ClientLimitsTest, FieldThatOnlyTheBrokerKnowsIsWrongIsNamed) {
  Start();
  const absl::Status one = client_->Enqueue("mail", "send", std::string(2 << 20, 'x')).status();
  EXPECT_EQ(one.code(), absl::StatusCode::kInvalidArgument) << one;
  EXPECT_EQ(FieldOf(one), "payload");
  EXPECT_EQ(std::string(one.message()).rfind("payload: ", 0), 0u) << one;
  std::vector<NewTask> tasks(3, NewTask{"mail", "send", "x", {}});
  tasks[1].payload.assign(2 << 20, 'x');
  EXPECT_EQ(FieldOf(client_->EnqueueMany(std::move(tasks)).status()), "tasks[1].payload");
}

TEST_F(ClientLimitsTest, LimitOfTheBrokerIsNamed) {
  broker_options_.limits.queues = 1;
  Start();
  ASSERT_TRUE(client_->Enqueue("first", "send", "x").ok());
  const absl::Status status = client_->Enqueue("second", "send", "x").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(LimitOf(status), "limits.queues");
}

}  // namespace
}  // namespace penstock
