// The whole broker in this process on storage that fails: what a full disk, a failing disk and the watermark do to the
// calls of a service and a worker.

#include "broker/server.h"

#include <chrono>
#include <filesystem>
#include <future>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "broker/storage/memory_store.h"
#include "client/client.h"
#include "common/mutex.h"
#include "common/random.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "tests/support/file_damage.h"
#include "tests/support/temp_folder.h"
#include "worker/worker.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::Duration kLong = absl::Minutes(2);

BrokerOptions OnLoopback() {
  BrokerOptions options;
  options.grpc.address = "127.0.0.1:0";
  options.http.address = "";
  return options;
}

std::unique_ptr<Client> Connect(const Server& server, WhenUnavailable when_unavailable = WhenUnavailable::kWait) {
  ClientOptions options;
  options.broker = "127.0.0.1:" + std::to_string(server.grpc_port());
  options.timeout = kLong;
  options.when_unavailable = when_unavailable;
  return Client::Connect(options).value();
}

// Runs every task of queue "q" at once.
std::unique_ptr<Worker> StartWorker(const Server& server) {
  auto worker = std::make_unique<Worker>(
      WorkerOptions{.broker = "127.0.0.1:" + std::to_string(server.grpc_port()), .queues = {"q"}});
  worker->RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done("ran"); });
  EXPECT_TRUE(worker->Start().ok());
  return worker;
}

TEST(ServerTest, FullDiskFailsCallsUntilThereIsRoomAgainAndLosesNothing) {
  MemoryStore store;
  auto server = Server::StartOn(OnLoopback(), store, SystemClock()).value();
  auto patient = Connect(*server);
  auto hasty = Connect(*server, WhenUnavailable::kFailFast);
  const TaskId before = patient->Enqueue("q", "t", "x").value();

  store.FailNextCommits(absl::ResourceExhaustedError("no space left on device"));
  const absl::Status refused = hasty->Enqueue("q", "t", "x").status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  // Again and again, as long as it is full: the engine's own first commit has no room either.
  EXPECT_FALSE(hasty->Enqueue("q", "t", "x").ok());

  store.FailNextCommits(absl::OkStatus());
  const TaskId after = patient->Enqueue("q", "t", "x").value();
  auto worker = StartWorker(*server);
  for (const TaskId id : {before, after}) {
    const TaskInfo task = patient->WaitTask(id, kLong).value();
    EXPECT_EQ(task.state, TaskState::kCompleted);
    EXPECT_EQ(task.attempt, 1);
  }
  worker->Stop();
  server->Stop();
}

TEST(ServerTest, FailingDiskEndsTheBrokerWithItsOwnExitCode) {
  MemoryStore store;
  auto server = Server::StartOn(OnLoopback(), store, SystemClock()).value();
  auto client = Connect(*server, WhenUnavailable::kFailFast);
  ASSERT_TRUE(client->Enqueue("q", "t", "x").ok());
  store.FailNextCommits(absl::InternalError("IO error: fdatasync: Input/output error"));
  EXPECT_FALSE(client->Enqueue("q", "t", "x").ok());
  const absl::Status end = server->Wait();
  EXPECT_THAT(std::string(end.message()), HasSubstr("Input/output error"));
  EXPECT_EQ(ExitCodeOf(end), kExitStorage);
  server->Stop();
}

TEST(ServerTest, BelowTheWatermarkEnqueuesAreRefusedAndCompletionsGoOn) {
  testing::TempFolder folder;
  BrokerOptions options = OnLoopback();
  options.data_dir = folder / "data";
  options.disk.watermark = 0;
  TaskId waiting;
  {
    auto server = Server::Start(options).value();
    waiting = Connect(*server)->Enqueue("q", "t", "x").value();
  }
  options.disk.watermark = uint64_t{1} << 60;  // more than any disk has free
  auto server = Server::Start(options).value();
  auto client = Connect(*server);
  // It asks for a pause of 30 s: who waits for less is told at once, with the reason, and that nothing was stored.
  const absl::Status refused = client->Enqueue("q", "t", "x", {.timeout = absl::Seconds(20)}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("free some space"));
  auto worker = StartWorker(*server);
  EXPECT_EQ(client->WaitTask(waiting, kLong).value().state, TaskState::kCompleted);
  worker->Stop();
  server->Stop();
}

// A store in memory whose snapshots a test can hold: those are what callers' reads go through, while the core reads the
// store itself.
class HeldReadsStore final : public Store {
 public:
  // From now on a read of a snapshot waits for Open, those of snapshots that are there already as well.
  void Hold() { Set(true); }
  void Open() { Set(false); }
  void AwaitHeld(int reads) {
    MutexLock lock(mu_);
    while (waiting_ < reads) changed_.Wait(mu_);
  }

  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
    return memory_.Get(family, key);
  }
  absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                    absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
    return memory_.Scan(family, begin, end, visit);
  }
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
    return memory_.ScanBackward(family, begin, end, visit);
  }
  absl::Status Commit(const CommitBatch& batch, bool sync) override { return memory_.Commit(batch, sync); }
  std::unique_ptr<StoreReader> Snapshot() const override {
    return std::make_unique<HeldSnapshot>(*this, memory_.Snapshot());
  }
  Health GetHealth() const override { return memory_.GetHealth(); }

 private:
  class HeldSnapshot final : public StoreReader {
   public:
    HeldSnapshot(const HeldReadsStore& store, std::unique_ptr<StoreReader> snapshot)
        : store_(store), snapshot_(std::move(snapshot)) {}
    absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
      store_.WaitAtGate();
      return snapshot_->Get(family, key);
    }
    absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                      absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
      store_.WaitAtGate();
      return snapshot_->Scan(family, begin, end, visit);
    }
    absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end,
                              absl::FunctionRef<bool(std::string_view, std::string_view)> visit) const override {
      store_.WaitAtGate();
      return snapshot_->ScanBackward(family, begin, end, visit);
    }

   private:
    const HeldReadsStore& store_;
    const std::unique_ptr<StoreReader> snapshot_;
  };

  void WaitAtGate() const {
    MutexLock lock(mu_);
    ++waiting_;
    changed_.SignalAll();
    while (held_) changed_.Wait(mu_);
    --waiting_;
  }
  void Set(bool held) {
    MutexLock lock(mu_);
    held_ = held;
    changed_.SignalAll();
  }

  MemoryStore memory_;
  mutable Mutex mu_;
  mutable CondVar changed_;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  mutable int waiting_ ABSL_GUARDED_BY(mu_) = 0;
};

TEST(ServerTest, ReadsThatTheDiskHoldsUpHoldUpNothingElse) {
  HeldReadsStore store;
  auto server = Server::StartOn(OnLoopback(), store, SystemClock()).value();
  auto client = Connect(*server);
  const TaskId waiting = client->Enqueue("q", "other", "x").value();
  std::promise<void> ran;
  Worker worker(WorkerOptions{.broker = "127.0.0.1:" + std::to_string(server->grpc_port()), .queues = {"q"}});
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view) {
    ran.set_value();
    return Outcome::Done("ran");
  });
  ASSERT_TRUE(worker.Start().ok());

  store.Hold();
  std::vector<std::future<absl::Status>> reads;
  for (int i = 0; i < 4; ++i) {
    reads.push_back(std::async(std::launch::async, [&] { return client->GetTask(waiting).status(); }));
    reads.push_back(std::async(std::launch::async, [&] { return client->ListTasks({.queue = "q"}).status(); }));
  }
  store.AwaitHeld(2);  // all threads of the read pool

  // Enough for a busy machine, and less than the reads would wait.
  const absl::StatusOr<TaskId> task = client->Enqueue("q", "t", "x", {.timeout = absl::Seconds(60)});
  EXPECT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(ran.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  for (const auto& read : reads) EXPECT_EQ(read.wait_for(std::chrono::seconds(0)), std::future_status::timeout);

  store.Open();
  for (auto& read : reads) EXPECT_TRUE(read.get().ok());
  EXPECT_EQ(client->WaitTask(*task, kLong).value().state, TaskState::kCompleted);
  worker.Stop();
  server->Stop();
}

// A status as operators see it.
v1::BrokerStatus StatusOf(const Server& server) {
  const auto channel =
      grpc::CreateChannel("127.0.0.1:" + std::to_string(server.grpc_port()), grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  v1::GetStatusResponse response;
  const grpc::Status status =
      v1::AdminService::NewStub(channel)->GetStatus(&context, v1::GetStatusRequest(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.broker();
}

TEST(ServerTest, DamageThatAScrubFindsIsToldInTheStatusAndTheBrokerGoesOn) {
  testing::TempFolder folder;
  BrokerOptions options = OnLoopback();
  options.data_dir = folder / "data";
  options.disk.watermark = 0;
  options.http.address = "127.0.0.1:0";
  options.storage.scrub_rate = 0;
  const std::string payload = RandomBytes(100'000);  // which does not become less in a file
  {
    auto server = Server::Start(options).value();
    ASSERT_TRUE(Connect(*server)->Enqueue("q", "other", payload).ok());
  }
  // The next start writes the log out to table files.
  auto server = Server::Start(options).value();
  EXPECT_THAT(StatusOf(*server).problems(), IsEmpty());
  std::string largest;
  std::set<std::string> flipped;
  v1::BrokerStatus status;
  // The file may be on its way out, a compaction having written another: then that one.
  while (status.problems().empty()) {
    for (const std::string& file : testing::FilesIn(options.data_dir, ".sst")) {
      std::error_code gone;
      const uintmax_t size = std::filesystem::file_size(file, gone);
      if (gone || size < payload.size() || !flipped.insert(file).second) continue;
      largest = file;
      testing::FlipBit(largest, 50'000);
    }
    server->ScrubNow();
    status = StatusOf(*server);
  }
  EXPECT_THAT(status.problems(),
              ElementsAre(AllOf(HasSubstr("stored files are damaged"), HasSubstr("penstock-broker --repair"),
                                HasSubstr(std::filesystem::path(largest).filename().string()))));
  auto client = Connect(*server);
  auto worker = StartWorker(*server);
  EXPECT_EQ(client->WaitTask(client->Enqueue("q", "t", "x").value(), kLong).value().state, TaskState::kCompleted);
  worker->Stop();
  server->Stop();
}

}  // namespace
}  // namespace penstock::broker
