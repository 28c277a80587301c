// The whole broker in this process on storage that fails: what a full disk, a failing disk and the watermark do to the
// calls of a service and a worker.

#include "broker/server.h"

#include <string>

#include "broker/storage/memory_store.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"
#include "worker/worker.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace penstock::broker
