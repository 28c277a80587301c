// The real broker behind a network that is cut: what was acknowledged is kept, what runs goes on, nothing happens
// twice.

#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "client/client.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "tests/support/process.h"
#include "tests/support/project_paths.h"
#include "tests/support/tcp_relay.h"
#include "tests/support/temp_folder.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using testing::Process;
using testing::TcpRelay;
using testing::TempFolder;

constexpr absl::Duration kLong = absl::Minutes(3);
const std::string kBin = BuildPath("bin/");

// Opens once; whoever waits goes on.
class Gate {
 public:
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    changed_.SignalAll();
  }
  void Wait() {
    MutexLock lock(mu_);
    while (!open_) changed_.Wait(mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

class ConnectionsTest : public ::testing::Test {
 protected:
  void Start(const std::string& grace) {
    broker_ = std::make_unique<Process>(
        std::vector<std::string>{kBin + "penstock-broker", "--data-dir", folder_.path() + "/data", "--grpc.address",
                                 "127.0.0.1:0", "--http.address", "", "--sessions.grace", grace});
    const std::string line = broker_->WaitForLine("ready grpc=");
    ASSERT_FALSE(line.empty()) << broker_->output();
    port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
    relay_ = std::make_unique<TcpRelay>(port_);
    client_ = Client::Connect(address()).value();
  }
  // Around the relay.
  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }
  WorkerOptions OptionsFor(const std::string& broker, const std::string& name) const {
    WorkerOptions options;
    options.broker = broker;
    options.queues = {"q"};
    options.concurrency = 8;
    options.name = name;
    options.reconnect_max = absl::Milliseconds(200);
    return options;
  }
  v1::QueueStats Stats() const {
    auto admin = v1::AdminService::NewStub(grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    v1::GetQueueRequest request;
    request.set_name("q");
    v1::GetQueueResponse response;
    const grpc::Status status = admin->GetQueue(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.queue().stats();
  }

  TempFolder folder_;
  std::unique_ptr<Process> broker_;
  int port_ = 0;
  std::unique_ptr<TcpRelay> relay_;
  std::unique_ptr<Client> client_;
};

TEST_F(ConnectionsTest, RunningTasksOutliveCutsOfTheirStreamAndRunOnce) {
  Start("20s");
  Gate gate;
  std::atomic<int> runs = 0;
  Worker worker(OptionsFor(relay_->address(), "cut"));
  worker.RegisterRaw("t", [&](TaskContext& context, std::string_view payload) {
    ++runs;
    if (payload == "long") gate.Wait();
    return Outcome::Done(std::to_string(context.attempt()));
  });
  ASSERT_TRUE(worker.Start().ok());
  std::vector<TaskId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(client_->Enqueue("q", "t", std::string("long")).value());
  while (runs < 4) std::this_thread::yield();
  for (int cut = 0; cut < 5; ++cut) {
    const int connections = relay_->accepted();
    relay_->Cut();
    // Others pass while the four run; some of their outcomes are cut off on their way.
    for (int i = 0; i < 200; ++i) ids.push_back(client_->Enqueue("q", "t", std::string("short")).value());
    while (relay_->accepted() == connections) std::this_thread::yield();
  }
  gate.Open();
  for (TaskId id : ids) EXPECT_EQ(client_->Wait<std::string>(id, kLong).value(), "1") << id.ToString();
  EXPECT_EQ(runs, static_cast<int>(ids.size()));
  worker.Stop();
}

TEST_F(ConnectionsTest, EnqueuesAcrossCutsHappenOnce) {
  Start("3s");
  ClientOptions options;
  options.broker = relay_->address();
  options.timeout = kLong;
  options.reconnect_max = absl::Milliseconds(100);
  auto client = Client::Connect(options).value();
  constexpr int kCallers = 8;
  constexpr int kTasks = 500;
  std::vector<std::vector<TaskId>> ids(kCallers);
  std::atomic<int> callers = kCallers;
  std::atomic<int> acknowledged = 0;
  std::vector<std::thread> threads;
  for (int caller = 0; caller < kCallers; ++caller) {
    threads.emplace_back([&, caller] {
      for (int i = 0; i < kTasks; ++i) {
        auto id = client->Enqueue("q", "t", fmt::format("{}/{}", caller, i));
        EXPECT_TRUE(id.ok()) << id.status();
        if (!id.ok()) break;
        ids[caller].push_back(*id);
        ++acknowledged;
      }
      --callers;
    });
  }
  // Some get through between cuts, or nothing ever would.
  int cuts = 0;
  int acknowledged_before = 0;
  while (callers > 0) {
    if (acknowledged < acknowledged_before + 400) {
      std::this_thread::yield();
      continue;
    }
    acknowledged_before = acknowledged;
    relay_->Cut();
    ++cuts;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(cuts, 5);
  std::set<TaskId> unique;
  for (int caller = 0; caller < kCallers; ++caller) {
    ASSERT_EQ(ids[caller].size(), static_cast<size_t>(kTasks));
    for (int i = 0; i < kTasks; ++i) {
      unique.insert(ids[caller][i]);
      if (i % 50 == 0) {
        EXPECT_EQ(client_->GetTask(ids[caller][i], true).value().payload, fmt::format("{}/{}", caller, i));
      }
    }
  }
  EXPECT_EQ(unique.size(), static_cast<size_t>(kCallers * kTasks));
  EXPECT_EQ(Stats().enqueued_total(), static_cast<uint64_t>(kCallers * kTasks));
}

TEST_F(ConnectionsTest, ReadsAndWaitsAcrossCutsAreRepeated) {
  Start("3s");
  ClientOptions options;
  options.broker = relay_->address();
  options.timeout = kLong;
  options.reconnect_max = absl::Milliseconds(100);
  auto client = Client::Connect(options).value();
  const TaskId id = client_->Enqueue("q", "t", std::string("x")).value();
  auto wait = client->WaitFuture(id, kLong);
  std::atomic<bool> stop = false;
  std::atomic<int> reads = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        auto task = client->GetTask(id);
        EXPECT_TRUE(task.ok()) << task.status();
        if (!task.ok()) break;
        ++reads;
      }
    });
  }
  for (int cut = 0; cut < 10; ++cut) {
    const int before = reads;
    while (reads < before + 20 && !HasFailure()) std::this_thread::yield();
    relay_->Cut();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(client->CancelTask(id).value());
  EXPECT_EQ(wait.get().value().state, TaskState::kCancelled);
}

TEST_F(ConnectionsTest, CompletionOfAWorkerThatWasCutOffTooLongIsRefused) {
  Start("200ms");
  Gate gate;
  std::atomic<bool> told = false;
  Worker first(OptionsFor(relay_->address(), "first"));
  first.RegisterRaw("t", [&](TaskContext& context, std::string_view) {
    context.Progress(1, "begun");
    gate.Wait();
    told = context.WaitForCancel(kLong) && context.cancel_reason() == CancelReason::kLeaseLost;
    return Outcome::Done("first");
  });
  ASSERT_TRUE(first.Start().ok());
  const TaskId id = client_->Enqueue("q", "t", std::string("x")).value();
  while (client_->GetTask(id).value().progress_text != "begun") std::this_thread::yield();
  relay_->Refuse(true);
  relay_->Cut();
  Worker second(OptionsFor(address(), "second"));
  second.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done("second"); });
  ASSERT_TRUE(second.Start().ok());
  EXPECT_EQ(client_->Wait<std::string>(id, kLong).value(), "second");
  // Back on the network, the first learns that the task is no longer its own; what it says of it changes nothing.
  relay_->Refuse(false);
  gate.Open();
  first.Stop();
  EXPECT_TRUE(told);
  const TaskInfo task = client_->GetTask(id).value();
  EXPECT_EQ(task.result, "second");
  ASSERT_EQ(task.attempts.size(), 2u);
  EXPECT_EQ(task.attempts[0].outcome, "lost");
  EXPECT_EQ(task.attempts[1].outcome, "completed");
  EXPECT_EQ(Stats().completed_total(), 1u);
  second.Stop();
}

TEST_F(ConnectionsTest, ClientThatDiesMidStreamLeavesWholeTasks) {
  Start("3s");
  // exec: the process that is killed is the client. `yes` ends with its pipe.
  Process producer(
      {"/bin/bash", "-c",
       fmt::format("exec {}penstock --broker {} enqueue q t --stdin-lines < <(yes payload)", kBin, address())});
  client_->Enqueue("q", "t", std::string("payload")).value();  // so that there is a queue to ask for
  while (Stats().enqueued_total() < 2'000) std::this_thread::yield();
  producer.Signal(SIGKILL);
  EXPECT_EQ(producer.Wait(), 128 + SIGKILL);
  // The broker goes on; what had reached it is whole, and every task runs once.
  std::atomic<uint64_t> runs = 0;
  std::atomic<uint64_t> broken = 0;
  Worker worker(OptionsFor(address(), "after"));
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view payload) {
    ++runs;
    if (payload != "payload" && payload != "last") ++broken;
    return Outcome::Done();
  });
  ASSERT_TRUE(worker.Start().ok());
  ASSERT_TRUE(client_->Wait<std::string>(client_->Enqueue("q", "t", std::string("last")).value(), kLong).ok());
  v1::QueueStats stats = Stats();
  while (stats.completed_total() < stats.enqueued_total()) stats = Stats();
  worker.Stop();
  EXPECT_EQ(broken, 0u);
  EXPECT_EQ(runs, stats.enqueued_total());
  EXPECT_GE(runs, 2'000u);
}

}  // namespace
}  // namespace penstock
