#include "broker/rpc/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <vector>

#include "absl/time/clock.h"
#include "broker/rpc/timed_wire.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "tests/support/tcp_client.h"

namespace penstock::broker {
namespace {

using testing::AwaitByte;
using testing::ConnectTo;
using testing::ReadAll;

sockaddr_storage V6(const char* host, uint16_t port) {
  sockaddr_storage address{};
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  EXPECT_EQ(inet_pton(AF_INET6, host, &v6.sin6_addr), 1);
  return address;
}

sockaddr_storage V4(const char* host, uint16_t port) {
  sockaddr_storage address{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(address);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  EXPECT_EQ(inet_pton(AF_INET, host, &v4.sin_addr), 1);
  return address;
}

TEST(PeerTest, AnIpV4AddressIsTheSameOnASocketOfEitherFamily) {
  EXPECT_EQ(Peer::From(V4("10.1.2.3", 80)), Peer::From(V6("::ffff:10.1.2.3", 80)));
  EXPECT_EQ(Peer::From(V6("::ffff:10.1.2.3", 80)).HostText(), "10.1.2.3");
  EXPECT_EQ(Peer::From(V6("2001:db8::7", 80)).HostText(), "2001:db8::7");
  EXPECT_NE(Peer::From(V4("10.1.2.3", 80)), Peer::From(V4("10.1.2.3", 81)));
}

TEST(PeerTest, NetworkIsAnIpV4AddressOrTheFirst64BitsOfAnIpV6Address) {
  EXPECT_NE(Peer::From(V4("10.1.2.3", 80)).Network(), Peer::From(V4("10.1.2.4", 80)).Network());
  EXPECT_EQ(Peer::From(V4("10.1.2.3", 80)).Network(), Peer::From(V4("10.1.2.3", 81)).Network());
  EXPECT_EQ(Peer::From(V6("2001:db8:1:2::7", 80)).Network(), Peer::From(V6("2001:db8:1:2:3:4:5:6", 80)).Network());
  EXPECT_NE(Peer::From(V6("2001:db8:1:2::7", 80)).Network(), Peer::From(V6("2001:db8:1:3::7", 80)).Network());
}

TEST(PeerTest, IsReadAsGrpcWritesIt) {
  EXPECT_EQ(Peer::FromUri("ipv4:10.1.2.3:80"), Peer::From(V4("10.1.2.3", 80)));
  EXPECT_EQ(Peer::FromUri("ipv6:%5B2001:db8::7%5D:80"), Peer::From(V6("2001:db8::7", 80)));
  EXPECT_EQ(Peer::FromUri("ipv6:[fe80::1%25eth0]:80"), Peer::From(V6("fe80::1", 80)));
  for (const char* other : {"", "ipv4:", "ipv4:10.1.2.3", "ipv4:10.1.2.3:x", "ipv4:10.1.2.3:70000", "ipv6:::1:80",
                            "ipv6:[]:1", "unix:/tmp/x"}) {
    EXPECT_EQ(Peer::FromUri(other), std::nullopt) << other;
  }
}

// A listener whose connections are greeted with one byte, '+', or '=' for an own one, and kept.
class ListenerTest : public ::testing::Test {
 protected:
  void Open(ListenerOptions options = {.address = "127.0.0.1:0"}) {
    auto listener = Listener::Open(options);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    listener_->Start([this](int fd, bool own) {
      const char greeting = own ? '=' : '+';
      MutexLock lock(mu_);  // who was greeted finds it in taken_
      EXPECT_EQ(send(fd, &greeting, 1, MSG_NOSIGNAL), 1);
      taken_.push_back(fd);
    });
  }
  ~ListenerTest() override {
    listener_.reset();
    CloseTaken();
    for (int fd : clients_) close(fd);
  }
  // What gRPC does when a connection ends.
  void CloseTaken() {
    MutexLock lock(mu_);
    for (int fd : taken_) close(fd);
    taken_.clear();
  }
  // Whether a new connection is taken; it is kept then.
  bool Connect(const std::string& from = "127.0.0.1") {
    const int fd = ConnectTo(listener_->port(), from);
    if (AwaitByte(fd)) {
      clients_.push_back(fd);
      return true;
    }
    close(fd);
    return false;
  }

  std::vector<int> clients_;
  Mutex mu_;
  std::vector<int> taken_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Listener> listener_;
};

TEST_F(ListenerTest, BeyondTheLimitPerAddressOthersStillGetIn) {
  Open({.address = "127.0.0.1:0", .connections_max = 100, .connections_per_address_max = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Connect("127.0.0.2")) << i;
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(Connect("127.0.0.2")) << i;
  EXPECT_TRUE(Connect("127.0.0.1"));
  const ListenerFigures figures = listener_->figures();
  EXPECT_EQ(figures.open, 4u);
  EXPECT_EQ(figures.accepted, 4u);
  EXPECT_EQ(figures.refused, (std::map<std::string, uint64_t>{{"limits.connections_per_address", 20}}));
}

// Every connection from 127.0.0.2 holds as many calls as it is told.
class FakeCalls : public CallCounts {
 public:
  uint64_t Started() override { return started_ += 1'000; }
  std::map<Peer, CallsOfConnection> Of(const std::vector<Peer>& peers) override {
    std::map<Peer, CallsOfConnection> calls;
    for (const Peer& peer : peers) {
      const uint64_t held = peer.HostText() == "127.0.0.2" ? held_of_two.load() : 10;
      calls[peer] = {.held = held, .empty = held};
    }
    return calls;
  }
  std::atomic<uint64_t> held_of_two = 0;

 private:
  uint64_t started_ = 0;
};

TEST_F(ListenerTest, ConnectionsOfTooManyCallsAreShutAndTheirAddressWaits) {
  FakeCalls calls;
  Open({.address = "127.0.0.1:0", .calls = &calls, .calls_max = 1'000});
  ASSERT_TRUE(Connect("127.0.0.2"));
  ASSERT_TRUE(Connect("127.0.0.1"));
  char byte = 0;
  // Sends on one of the connections, and reads it on the broker's side.
  const auto transfer = [this](size_t i) {
    std::string much(10'000, 'x');
    EXPECT_EQ(send(clients_[i], much.data(), much.size(), MSG_NOSIGNAL), 10'000);
    MutexLock lock(mu_);
    recv(taken_[i], much.data(), much.size(), MSG_WAITALL);
  };
  const auto await_shut = [this](uint64_t count) {
    while (listener_->figures().shut < count) {
    }
    EXPECT_EQ(listener_->figures().shut, count);
  };
  transfer(0);
  transfer(1);
  absl::SleepFor(absl::Milliseconds(300));  // several looks
  EXPECT_EQ(recv(clients_[0], &byte, 1, MSG_DONTWAIT), -1) << "it had too many calls already";
  calls.held_of_two = 1'001;
  transfer(0);
  transfer(1);
  EXPECT_LE(recv(clients_[0], &byte, 1, 0), 0);  // its end
  await_shut(1);
  // Once may be an accident.
  ASSERT_TRUE(Connect("127.0.0.2"));
  transfer(2);
  EXPECT_LE(recv(clients_[2], &byte, 1, 0), 0);
  await_shut(2);
  EXPECT_FALSE(Connect("127.0.0.2"));
  EXPECT_EQ(listener_->figures().refused, (std::map<std::string, uint64_t>{{"resets", 1}}));
  // Others are not concerned, and once is enough.
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(recv(clients_[1], &byte, 1, MSG_DONTWAIT), -1);
  EXPECT_TRUE(Connect("127.0.0.1"));
  EXPECT_EQ(listener_->figures().shut, 2u);
  listener_.reset();  // before the counts
}

TEST(OpenConnectionsTest, AddressWaitsAfterTheSecondShutUntilItIsForgotten) {
  OpenConnections open(10, 10);
  const Peer peer = Peer::From(V4("10.1.2.3", 80));
  open.NoteShut(peer, absl::Seconds(100));
  EXPECT_EQ(open.Judge(peer, absl::Seconds(101)), ConnectionLimit::kNone);
  open.NoteShut(peer, absl::Seconds(109));
  EXPECT_EQ(open.Judge(peer, absl::Seconds(118)), ConnectionLimit::kResets);
  EXPECT_EQ(open.Judge(Peer::From(V4("10.1.2.4", 80)), absl::Seconds(118)), ConnectionLimit::kNone);
  EXPECT_EQ(open.Judge(peer, absl::Seconds(119)), ConnectionLimit::kNone);
  open.NoteShut(peer, absl::Seconds(120));
  EXPECT_EQ(open.Judge(peer, absl::Seconds(121)), ConnectionLimit::kNone);
}

TEST_F(ListenerTest, BeyondTheLimitInAllNobodyGetsIn) {
  Open({.address = "127.0.0.1:0", .connections_max = 4, .connections_per_address_max = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Connect("127.0.0.2")) << i;
  EXPECT_TRUE(Connect("127.0.0.3"));
  EXPECT_FALSE(Connect("127.0.0.4"));
  EXPECT_EQ(listener_->figures().refused, (std::map<std::string, uint64_t>{{"limits.connections", 1}}));
}

TEST_F(ListenerTest, ConnectionsThatEndedMakeRoom) {
  Open({.address = "127.0.0.1:0", .connections_max = 4, .connections_per_address_max = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Connect());
  EXPECT_FALSE(Connect());
  CloseTaken();
  // It does not look at every connection each time: within 100 ms it notices.
  while (!Connect()) {
  }
  EXPECT_EQ(listener_->figures().open, 1u);
}

TEST_F(ListenerTest, DescriptorThatIsUsedAgainIsNotTheOldConnection) {
  Open({.address = "127.0.0.1:0", .connections_max = 2, .connections_per_address_max = 2});
  EXPECT_TRUE(Connect());
  EXPECT_TRUE(Connect());
  CloseTaken();
  // The numbers are soon those of something else.
  std::vector<int> others;
  for (int i = 0; i < 10; ++i) others.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(listener_->figures().open, 0u);
  for (int fd : others) close(fd);
}

TEST_F(ListenerTest, OwnConnectionPassesByTheLimitsOnce) {
  Open({.address = "127.0.0.1:0", .connections_max = 1, .connections_per_address_max = 1});
  EXPECT_TRUE(Connect());
  EXPECT_FALSE(Connect());
  const sockaddr_storage server = listener_->addresses().at(0);
  TimedWire wire(absl::Minutes(2));
  const Peer own = wire.Bind(server).value();
  EXPECT_EQ(own.HostText(), "127.0.0.1");
  listener_->ExpectOwn(own);
  ASSERT_TRUE(wire.Connect(server).ok());
  EXPECT_EQ(wire.Receive().value(), "=");
  EXPECT_EQ(listener_->figures().open, 1u);
  // Neither another of the same address, nor the next one from the same port, is taken for it.
  EXPECT_FALSE(Connect());
  listener_->ForgetOwn(own);
}

TEST_F(ListenerTest, OwnConnectionThatIsForgottenIsAsAllOthers) {
  Open({.address = "127.0.0.1:0", .connections_max = 1, .connections_per_address_max = 1});
  EXPECT_TRUE(Connect());
  const sockaddr_storage server = listener_->addresses().at(0);
  TimedWire wire(absl::Minutes(2));
  const Peer own = wire.Bind(server).value();
  listener_->ExpectOwn(own);
  listener_->ForgetOwn(own);
  (void)wire.Connect(server);
  EXPECT_FALSE(wire.Receive().ok());
}

TEST_F(ListenerTest, AfterStopOthersAreToldAtOnce) {
  Open();
  EXPECT_TRUE(Connect());
  const int port = listener_->port();
  listener_->Stop();
  listener_->Stop();
  EXPECT_EQ(ConnectTo(port), -1);
  EXPECT_EQ(listener_->port(), port);
}

TEST_F(ListenerTest, ListensOnIpV6) {
  const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_storage loopback = V6("::1", 0);
  const bool there = probe >= 0 && bind(probe, reinterpret_cast<const sockaddr*>(&loopback), sizeof(sockaddr_in6)) == 0;
  if (probe >= 0) close(probe);
  if (!there) GTEST_SKIP() << "this machine has no IPv6 loopback";
  Open({.address = "[::1]:0"});
  ASSERT_NE(listener_->port(), 0);
  TimedWire wire(absl::Minutes(2));
  const sockaddr_storage server = listener_->addresses().at(0);
  EXPECT_EQ(wire.Bind(server).value().HostText(), "::1");
  ASSERT_TRUE(wire.Connect(server).ok());
  EXPECT_EQ(wire.Receive().value(), "+");
}

TEST_F(ListenerTest, ListensOnAllAddressesOfANameWithOnePort) {
  Open({.address = "localhost:0"});
  for (const sockaddr_storage& server : listener_->addresses()) {
    EXPECT_EQ(Peer::From(server).port, listener_->port());
    TimedWire wire(absl::Minutes(2));
    ASSERT_TRUE(wire.Bind(server).ok());
    ASSERT_TRUE(wire.Connect(server).ok());
    EXPECT_EQ(wire.Receive().value(), "+");
  }
}

size_t OpenDescriptors() {
  const std::filesystem::directory_iterator folder("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(folder), end(folder)));
}

TEST(ListenerDescriptorsTest, NoneIsLeft) {
  const size_t before = OpenDescriptors();
  {
    auto listener = Listener::Open({.address = "127.0.0.1:0", .connections_max = 5}).value();
    listener->Start([](int fd, bool own) { close(fd); });
    for (int i = 0; i < 300; ++i) {
      const int fd = ConnectTo(listener->port());
      ReadAll(fd);
      close(fd);
    }
  }
  { auto never_started = Listener::Open({.address = "127.0.0.1:0"}).value(); }
  EXPECT_EQ(OpenDescriptors(), before);
}

// Exits with 0 when connections are refused while there is no descriptor, and taken again when there are some.
[[noreturn]] void LiveThroughALackOfDescriptors() {
  {
    // The same while there are descriptors: UndefinedBehaviorSanitizer needs some for every type that it meets anew.
    auto full = Listener::Open({.address = "127.0.0.1:0", .connections_max = 0}).value();
    full->Start([](int fd, bool own) { close(fd); });
    if (AwaitByte(ConnectTo(full->port()))) _exit(5);
  }
  auto listener = Listener::Open({.address = "127.0.0.1:0"}).value();
  listener->Start([](int fd, bool own) {
    (void)send(fd, "+", 1, MSG_NOSIGNAL);
    close(fd);
  });
  const sockaddr_storage server = listener->addresses().at(0);
  std::vector<int> sockets;
  for (int i = 0; i < 40; ++i) sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(sockets.back()) + 1;
  setrlimit(RLIMIT_NOFILE, &none);
  for (int fd : sockets) {
    if (connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof(sockaddr_in)) != 0) _exit(1);
    if (AwaitByte(fd)) _exit(2);
  }
  if (listener->figures().refused.at("open_files") != sockets.size()) _exit(3);
  setrlimit(RLIMIT_NOFILE, &before);
  if (!AwaitByte(ConnectTo(listener->port()))) _exit(4);
  _exit(0);
}

TEST(ListenerDeathTest, LackOfDescriptorsIsSurvived) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(LiveThroughALackOfDescriptors(), ::testing::ExitedWithCode(0), "");
}

[[noreturn]] void CountWhatFits() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = 1'024;
  setrlimit(RLIMIT_NOFILE, &files);
  if (ConnectionsThatFit(10'000, 640) != 384) _exit(1);
  if (ConnectionsThatFit(100, 640) != 100) _exit(2);
  files.rlim_cur = 256;  // fewer than others may want: a quarter
  setrlimit(RLIMIT_NOFILE, &files);
  if (ConnectionsThatFit(10'000, 640) != 64) _exit(3);
  _exit(0);
}

TEST(ListenerDeathTest, ConnectionsLeaveFilesToTheRestOfTheBroker) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(CountWhatFits(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace penstock::broker
