// The network that chaos is made with does what it says.

#include "tests/support/tcp_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace penstock::testing {
namespace {

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  void Send(const std::string& bytes) {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // So many bytes; fewer if the connection ends before.
  std::string Receive(size_t size) {
    std::string bytes(size, '\0');
    size_t got = 0;
    while (got < size) {
      const ssize_t more = recv(fd_, bytes.data() + got, size - got, 0);
      if (more <= 0) break;
      got += static_cast<size_t>(more);
    }
    bytes.resize(got);
    return bytes;
  }
  // 0: in good order.
  int End() {
    char byte;
    return recv(fd_, &byte, 1, 0) == 0 ? 0 : errno;
  }
  // Nothing is there to read, and no end.
  bool Silent() {
    char byte;
    return recv(fd_, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

class TcpRelayTest : public ::testing::Test {
 protected:
  TcpRelayTest() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_.fd(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.fd(), 8), 0);
    getsockname(listener_.fd(), reinterpret_cast<sockaddr*>(&address), &size);
    relay_.emplace(ntohs(address.sin_port));
  }
  Socket Dial() {
    Socket near(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const std::string text = relay_->address();
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(text.substr(text.find(':') + 1))));
    EXPECT_EQ(connect(near.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return near;
  }
  // Both ends of a new connection through the relay.
  std::pair<Socket, Socket> Connect() {
    Socket near = Dial();
    Socket far(accept(listener_.fd(), nullptr, nullptr));
    near.Send("hello");
    EXPECT_EQ(far.Receive(5), "hello");
    return {std::move(near), std::move(far)};
  }

  Socket listener_;
  std::optional<TcpRelay> relay_;
};

TEST_F(TcpRelayTest, BytesPassBothWaysAndTheEndIsPassedOn) {
  auto [near, far] = Connect();
  const std::string large(1 << 20, 'x');
  std::string got;
  std::thread reader([&, &from = far] { got = from.Receive(large.size()); });
  near.Send(large);
  reader.join();
  EXPECT_EQ(got, large);
  far.Send("answer");
  EXPECT_EQ(near.Receive(6), "answer");
  shutdown(near.fd(), SHUT_WR);
  EXPECT_EQ(far.End(), 0);
}

TEST_F(TcpRelayTest, ACutEndsInGoodOrderAndAResetDoesNot) {
  auto [near, far] = Connect();
  relay_->Cut();
  EXPECT_EQ(near.End(), 0);
  EXPECT_EQ(far.End(), 0);
  auto [near_again, far_again] = Connect();
  relay_->Reset();
  EXPECT_EQ(near_again.End(), ECONNRESET);
  EXPECT_EQ(far_again.End(), ECONNRESET);
}

TEST_F(TcpRelayTest, AHalfOpenConnectionEndsAtOneEndOnly) {
  for (TcpRelay::End closed : {TcpRelay::End::kNear, TcpRelay::End::kFar}) {
    auto [near, far] = Connect();
    Socket& ended = closed == TcpRelay::End::kNear ? near : far;
    Socket& open = closed == TcpRelay::End::kNear ? far : near;
    relay_->HalfOpen(closed);
    EXPECT_EQ(ended.End(), 0);
    open.Send("is anybody there");
    EXPECT_TRUE(open.Silent());
    relay_->Cut();
    const int end = open.End();  // a reset, if what was sent had not been swallowed yet
    EXPECT_TRUE(end == 0 || end == ECONNRESET) << end;
  }
}

TEST_F(TcpRelayTest, AStoppedNetworkPassesNothingAndLosesNothing) {
  auto [near, far] = Connect();
  relay_->SetPace({.delay = {}, .bytes_per_second = 0, .stopped = true});
  near.Send("late");
  EXPECT_TRUE(far.Silent());
  relay_->SetPace({});
  EXPECT_EQ(far.Receive(4), "late");
}

TEST_F(TcpRelayTest, DelayAndTrickleTakeTheirTime) {
  auto [near, far] = Connect();
  relay_->SetPace({.delay = absl::Milliseconds(50), .bytes_per_second = 0, .stopped = false});
  absl::Time begin = absl::Now();
  near.Send("x");
  EXPECT_EQ(far.Receive(1), "x");
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(50));
  relay_->SetPace({.delay = {}, .bytes_per_second = 1'000, .stopped = false});
  begin = absl::Now();
  near.Send(std::string(200, 'y'));
  EXPECT_EQ(far.Receive(200), std::string(200, 'y'));
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(150));
}

TEST_F(TcpRelayTest, RefusedConnectionsEndAtOnce) {
  relay_->Refuse(true);
  EXPECT_EQ(Dial().End(), 0);
  relay_->Refuse(false);
  Connect();
  EXPECT_EQ(relay_->accepted(), 1);
}

}  // namespace
}  // namespace penstock::testing
