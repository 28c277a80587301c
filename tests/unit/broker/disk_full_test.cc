// A whole broker in this process on a disk that is really full: with its reserve, tasks are finished all the same.

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/server.h"
#include "client/client.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/small_disk.h"
#include "worker/worker.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;
using testing::SmallDisk;

constexpr absl::Duration kLong = absl::Minutes(2);
constexpr uint64_t kMiB = 1 << 20;

bool g_may_mount = false;

class DiskFullTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!g_may_mount) GTEST_SKIP() << "this machine lets nobody mount a file system, not even in a namespace";
    disk_ = std::make_unique<SmallDisk>(48);
    options_.grpc.address = "127.0.0.1:0";
    options_.http.address = "";
    options_.data_dir = *disk_ / "data";
    options_.disk.watermark = 0;
    options_.disk.ballast = 12 * kMiB;
    options_.storage.memtables = 4 * kMiB;
    options_.storage.block_cache = 8 * kMiB;
  }
  void Start() {
    auto server = Server::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(server_->grpc_port()); }
  std::unique_ptr<Client> Connect(WhenUnavailable when_unavailable = WhenUnavailable::kWait) {
    ClientOptions options;
    options.broker = address();
    options.timeout = kLong;
    options.when_unavailable = when_unavailable;
    return Client::Connect(options).value();
  }
  // Runs every task of queue "q" at once.
  std::unique_ptr<Worker> StartWorker() {
    auto worker = std::make_unique<Worker>(WorkerOptions{.broker = address(), .queues = {"q"}});
    worker->RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done("ran"); });
    EXPECT_TRUE(worker->Start().ok());
    return worker;
  }
  bool HasBallast() const { return std::filesystem::exists(options_.data_dir + "/BALLAST"); }
  void ExpectCompleted(Client& client, const std::vector<TaskId>& tasks) {
    for (const TaskId id : tasks) {
      const auto task = client.WaitTask(id, kLong);
      ASSERT_TRUE(task.ok()) << task.status();
      EXPECT_EQ(task->state, TaskState::kCompleted);
      EXPECT_EQ(task->attempt, 1);
    }
  }

  std::unique_ptr<SmallDisk> disk_;
  BrokerOptions options_;
  std::unique_ptr<Server> server_;
};

TEST_F(DiskFullTest, TasksAreFinishedFromTheReserveAndEnqueuesWaitForSpace) {
  ASSERT_NO_FATAL_FAILURE(Start());
  EXPECT_TRUE(HasBallast());
  auto patient = Connect();
  auto hasty = Connect(WhenUnavailable::kFailFast);
  std::vector<TaskId> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(patient->Enqueue("q", "t", std::to_string(i)).value());

  disk_->Fill();
  const std::string large(256 << 10, 'x');
  absl::Status refused;
  while (refused.ok()) {
    const auto id = hasty->Enqueue("q", "t", large);
    if (id.ok()) tasks.push_back(*id);
    refused = id.status();
  }
  // By a commit that found no room, or by the housekeeper, who heard first that a table file found none.
  EXPECT_TRUE(absl::IsUnavailable(refused) || absl::IsResourceExhausted(refused)) << refused;
  // Nobody frees anything. Still:
  auto worker = StartWorker();
  ExpectCompleted(*patient, tasks);
  EXPECT_FALSE(HasBallast());
  // Its stream was cut and may not be there again.
  do {
    refused = hasty->Enqueue("q", "t", "x").status();
  } while (absl::IsUnavailable(refused));
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("free some space"));

  disk_->Free();
  auto after = hasty->Enqueue("q", "t", "x");
  while (absl::IsResourceExhausted(after.status()) || absl::IsUnavailable(after.status())) {
    after = hasty->Enqueue("q", "t", "x");
  }
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_TRUE(HasBallast());
  ExpectCompleted(*patient, {*after});
  worker->Stop();
  server_->Stop();
}

TEST_F(DiskFullTest, BelowTheWatermarkOnlyEnqueuesAreRefusedUntilSpaceReturns) {
  options_.disk.watermark = 16 * kMiB;
  options_.disk.ballast = 4 * kMiB;
  ASSERT_NO_FATAL_FAILURE(Start());
  auto patient = Connect();
  auto hasty = Connect(WhenUnavailable::kFailFast);
  // Begun before the disk is short, and ended while it is.
  std::promise<void> may_end;
  const std::shared_future<void> ended(may_end.get_future());
  std::atomic<int> running = 0;
  Worker worker(WorkerOptions{.broker = address(), .queues = {"q"}, .concurrency = 2});
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view) {
    ++running;
    ended.wait();
    return Outcome::Done("ran");
  });
  ASSERT_TRUE(worker.Start().ok());
  std::vector<TaskId> tasks;
  for (int i = 0; i < 6; ++i) tasks.push_back(patient->Enqueue("q", "t", std::to_string(i)).value());
  while (running < 2) std::this_thread::yield();

  disk_->Fill(12 * kMiB);
  absl::Status refused;
  while (refused.ok()) {
    const auto id = hasty->Enqueue("q", "t", "x");
    if (id.ok()) tasks.push_back(*id);
    refused = id.status();
  }
  EXPECT_EQ(LimitOf(refused), "disk.watermark") << refused;
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
  may_end.set_value();
  ExpectCompleted(*patient, tasks);
  EXPECT_TRUE(HasBallast()) << "the reserve is for a disk that is really full";
  refused = hasty->Enqueue("q", "t", "x").status();
  EXPECT_EQ(LimitOf(refused), "disk.watermark") << refused;

  // Nobody tells the broker.
  disk_->Free();
  auto after = hasty->Enqueue("q", "t", "x");
  while (LimitOf(after.status()) == "disk.watermark") after = hasty->Enqueue("q", "t", "x");
  ASSERT_TRUE(after.ok()) << after.status();
  ExpectCompleted(*patient, {*after});
  worker.Stop();
  server_->Stop();
}

TEST_F(DiskFullTest, ABrokerThatStartsOnAFullDiskFinishesTasksFromTheReserve) {
  ASSERT_NO_FATAL_FAILURE(Start());
  const TaskId task = Connect()->Enqueue("q", "t", "x").value();
  server_->Stop();
  server_.reset();
  ASSERT_TRUE(HasBallast());
  disk_->Fill();

  ASSERT_NO_FATAL_FAILURE(Start());
  EXPECT_FALSE(HasBallast());
  auto worker = StartWorker();
  auto client = Connect();
  ExpectCompleted(*client, {task});
  const absl::Status refused = Connect(WhenUnavailable::kFailFast)->Enqueue("q", "t", "x").status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  worker->Stop();
  server_->Stop();
}

}  // namespace
}  // namespace penstock::broker

int main(int argc, char** argv) {
  penstock::broker::g_may_mount = penstock::testing::SmallDisk::Allow();
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
