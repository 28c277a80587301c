// The real broker's outer edge: limits of connections, what it tells its service manager, and what happens when it
// does not answer any more.

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "client/client.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "tests/support/process.h"
#include "tests/support/project_paths.h"
#include "tests/support/tcp_client.h"
#include "tests/support/temp_folder.h"

namespace penstock {
namespace {

using testing::AwaitByte;
using testing::ConnectTo;
using ::testing::HasSubstr;
using testing::HttpGet;

const std::string kBin = BuildPath("bin/");

// The socket that systemd would listen on.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& path) : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  ~NotifySocket() { close(fd_); }
  // Waits for the next message.
  std::string Next() const { return Receive(0); }
  // Empty: there is none.
  std::string NextIfThere() const { return Receive(MSG_DONTWAIT); }

 private:
  std::string Receive(int flags) const {
    char buffer[100];
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), flags);
    return std::string(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  }
  const int fd_;
};

// The threads of a process that have this name, made to stand still.
class StoppedThreads {
 public:
  // False: no debugger may do that here.
  bool Stop(pid_t pid, const std::string& name) {
    for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
      std::ifstream comm(entry.path() / "comm");
      std::string thread_name;
      std::getline(comm, thread_name);
      if (thread_name != name) continue;
      const pid_t thread = std::atoi(entry.path().filename().c_str());
      if (ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) return false;
      if (ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) return false;
      waitpid(thread, nullptr, __WALL);
      threads_.push_back(thread);
    }
    EXPECT_FALSE(threads_.empty()) << "no thread has the name " << name;
    return true;
  }
  void GoOn() {
    for (pid_t thread : threads_) ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
    threads_.clear();
  }
  ~StoppedThreads() { GoOn(); }

 private:
  std::vector<pid_t> threads_;
};

class EdgeTest : public ::testing::Test {
 protected:
  void Start(const std::vector<std::string>& more = {}, const std::vector<std::string>& environment = {}) {
    std::vector<std::string> command = {"/usr/bin/env"};
    command.insert(command.end(), environment.begin(), environment.end());
    command.insert(command.end(), {kBin + "penstock-broker", "--data-dir", folder_ / "data", "--grpc.address",
                                   "127.0.0.1:0", "--http.address", "127.0.0.1:0"});
    command.insert(command.end(), more.begin(), more.end());
    broker_ = std::make_unique<testing::Process>(command);
    const std::string line = broker_->WaitForLine("ready grpc=");
    ASSERT_FALSE(line.empty()) << broker_->output();
    port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
    http_port_ = std::atoi(line.c_str() + line.find("http=") + 5);
  }
  // Of a metric, by its name and its labels if it has any; 0 when it is not there.
  uint64_t Metric(const std::string& name) const {
    const std::string text = HttpGet(http_port_, "/metrics");
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + name.size() + 2, nullptr, 10);
  }

  testing::TempFolder folder_;
  std::unique_ptr<testing::Process> broker_;
  int port_ = 0;
  int http_port_ = 0;
};

TEST_F(EdgeTest, WhoeverTakesAllConnectionsOfAnAddressShutsOutNobodyElse) {
  Start({"--limits.connections-per-address", "16"});
  std::vector<int> held;
  size_t taken = 0;
  for (int i = 0; i < 200; ++i) {
    held.push_back(ConnectTo(port_, "127.0.0.2"));
    taken += AwaitByte(held.back()) ? 1 : 0;
  }
  EXPECT_EQ(taken, 16u);
  // A new client from another address, while the sixteen are held.
  auto client = Client::Connect(fmt::format("127.0.0.1:{}", port_)).value();
  EXPECT_TRUE(client->Enqueue("q", "t", std::string("x")).ok());
  EXPECT_EQ(Metric("penstock_connections_refused_total{reason=\"limits.connections_per_address\"}"), 184u);
  EXPECT_GE(Metric("penstock_connections"), 1u);
  EXPECT_FALSE(broker_->WaitForLine("connections refused").empty());
  for (int fd : held) close(fd);
}

// As many calls as a connection may have open, as fast as it can, and many that it gives up.
TEST_F(EdgeTest, ClientThatEnqueuesAsFastAsItCanIsNotTakenForAnAttack) {
  Start();
  const auto stub = v1::TaskService::NewStub(
      grpc::CreateChannel(fmt::format("127.0.0.1:{}", port_), grpc::InsecureChannelCredentials()));
  struct Call {
    grpc::ClientContext context;
    v1::EnqueueRequest request;
    v1::EnqueueResponse response;
  };
  std::atomic<bool> stop = false;
  std::atomic<int> in_flight = 0, done = 0, given_up = 0, cut_off = 0;
  std::atomic<uint64_t> number = 0;
  std::function<void()> next = [&] {
    auto call = std::make_shared<Call>();
    call->request.mutable_task()->set_queue("q");
    call->request.mutable_task()->set_type("t");
    const uint64_t i = ++number;
    call->request.mutable_task()->set_payload(std::string(i % 2 == 0 ? 100 : 10'000, 'x'));
    if (i % 4 == 0) call->context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(2));
    stub->async()->Enqueue(&call->context, &call->request, &call->response, [&, call](const grpc::Status& status) {
      done += status.ok() ? 1 : 0;
      given_up += status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ? 1 : 0;
      cut_off += status.error_code() == grpc::StatusCode::UNAVAILABLE ? 1 : 0;
      if (!stop) return next();
      --in_flight;
    });
  };
  for (int i = 0; i < 1'000; ++i) {
    ++in_flight;
    next();
  }
  absl::SleepFor(absl::Seconds(4));
  stop = true;
  while (in_flight > 0) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_GT(done, 1'000);
  EXPECT_GT(given_up, 1'000);
  EXPECT_EQ(cut_off, 0);
  EXPECT_EQ(Metric("penstock_connections_shut_total"), 0u);
}

TEST_F(EdgeTest, ServiceManagerHearsOfStartLifeAndEnd) {
  const NotifySocket notify(folder_ / "notify");
  Start({}, {"NOTIFY_SOCKET=" + folder_ / "notify", "WATCHDOG_USEC=1500000"});
  // The first sign of life may come before all is ready.
  std::vector<std::string> heard;
  while (std::count(heard.begin(), heard.end(), "READY=1") == 0 ||
         std::count(heard.begin(), heard.end(), "WATCHDOG=1") < 3) {
    heard.push_back(notify.Next());
  }
  broker_->Signal(SIGTERM);
  std::string last;
  while ((last = notify.Next()) == "WATCHDOG=1") {
  }
  EXPECT_EQ(last, "STOPPING=1");
  EXPECT_EQ(broker_->Wait(), 0) << broker_->output();
}

// As a debugger does, this test stops the threads that work for gRPC, and no other: the process looks alive.
TEST_F(EdgeTest, BrokerWhoseGrpcIsDeafSaysSoAndGivesNoSignOfLifeUntilItHearsAgain) {
  const NotifySocket notify(folder_ / "notify");
  Start({}, {"NOTIFY_SOCKET=" + folder_ / "notify", "WATCHDOG_USEC=3000000"});
  while (Metric("penstock_self_probes_total{outcome=\"succeeded\"}") == 0) std::this_thread::yield();
  StoppedThreads threads;
  if (!threads.Stop(broker_->pid(), "nexting_thread")) GTEST_SKIP() << "no debugger may attach to processes here";

  ASSERT_FALSE(broker_->WaitForLine("does not answer on its own port").empty()) << broker_->output();
  EXPECT_THAT(HttpGet(http_port_, "/healthz"), HasSubstr("503"));
  EXPECT_THAT(HttpGet(http_port_, "/healthz"), HasSubstr("not live: the broker does not answer on its own port"));
  EXPECT_EQ(Metric("penstock_self_probe_failing"), 1u);
  while (!notify.NextIfThere().empty()) {
  }
  const char* failed = "penstock_self_probes_total{outcome=\"failed\"}";
  const uint64_t before = Metric(failed);
  while (Metric(failed) < before + 2) std::this_thread::yield();
  EXPECT_EQ(notify.NextIfThere(), "");

  threads.GoOn();
  EXPECT_EQ(notify.Next(), "WATCHDOG=1");
  ASSERT_FALSE(broker_->WaitForLine("answers on its own port again").empty()) << broker_->output();
  while (HttpGet(http_port_, "/healthz").find("200 OK") == std::string::npos) std::this_thread::yield();
}

}  // namespace
}  // namespace penstock
