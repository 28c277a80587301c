// The whole broker in this process on storage that fails: what a full disk, a failing disk and the watermark do to the
// calls of a service and a worker.

#include "broker/server.h"

#include <filesystem>
#include <set>
#include <string>
#include <system_error>

#include "broker/storage/memory_store.h"
#include "client/client.h"
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
