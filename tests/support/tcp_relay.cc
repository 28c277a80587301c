#include "tests/support/tcp_relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace penstock::testing {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// Passes on what comes, until either side has ended.
void Pump(int from, int to) {
  char buffer[64 << 10];
  while (true) {
    const ssize_t got = recv(from, buffer, sizeof(buffer), 0);
    if (got <= 0) break;
    for (ssize_t done = 0; done < got;) {
      const ssize_t sent = send(to, buffer + done, static_cast<size_t>(got - done), MSG_NOSIGNAL);
      if (sent <= 0) break;
      done += sent;
    }
  }
  shutdown(from, SHUT_RDWR);
  shutdown(to, SHUT_RDWR);
}

}  // namespace

TcpRelay::TcpRelay(int target_port) : target_port_(target_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    ADD_FAILURE() << "the relay cannot listen: errno " << errno;
    return;
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

TcpRelay::~TcpRelay() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  shutdown(listener_, SHUT_RDWR);
  if (acceptor_.joinable()) acceptor_.join();
  close(listener_);
  Cut();
  MutexLock lock(mu_);
  for (Link& link : links_) {
    for (std::thread& pump : link.pumps) pump.join();
    for (int end : link.ends) close(end);
  }
}

void TcpRelay::Cut() {
  MutexLock lock(mu_);
  for (Link& link : links_) {
    for (int end : link.ends) shutdown(end, SHUT_RDWR);
  }
}

void TcpRelay::Refuse(bool refuse) {
  MutexLock lock(mu_);
  refuse_ = refuse;
}

int TcpRelay::accepted() const {
  MutexLock lock(mu_);
  return accepted_;
}

void TcpRelay::Accept() {
  while (true) {
    const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    MutexLock lock(mu_);
    if (near < 0 || stopping_) {
      if (near >= 0) close(near);
      return;
    }
    const int far = refuse_ ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in target = Loopback(target_port_);
    if (far < 0 || connect(far, reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0) {
      if (far >= 0) close(far);
      close(near);
      continue;
    }
    ++accepted_;
    Link& link = links_.emplace_back();
    link.ends[0] = near;
    link.ends[1] = far;
    link.pumps[0] = std::thread(Pump, near, far);
    link.pumps[1] = std::thread(Pump, far, near);
  }
}

}  // namespace penstock::testing
