#include "tests/support/tcp_relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/time/clock.h"

namespace penstock::testing {
namespace {

// How often a trickling connection passes something on.
constexpr absl::Duration kTrickle = absl::Milliseconds(20);

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// Waits for an event of `fd`, or until `wake` can be read: false.
bool Await(int fd, short event, int wake) {
  while (true) {
    pollfd fds[2] = {{fd, event, 0}, {wake, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    if (fds[1].revents != 0) return false;
    if (fds[0].revents != 0) return true;
  }
}

}  // namespace

TcpRelay::TcpRelay(int target_port) : target_port_(target_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("the relay cannot listen");
    std::abort();
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
  acceptor_.join();
  close(listener_);
  Break(State::kCut);
  MutexLock lock(mu_);
  while (!links_.empty()) {
    Reap();
    if (!links_.empty()) changed_.Wait(mu_);
  }
}

// --- what tests do ---

void TcpRelay::EndLink(Link* link, State state) {
  if (link->state == State::kCut || link->state == State::kReset) return;
  link->state = state;
  const uint64_t one = 1;
  if (write(link->wake, &one, sizeof(one)) != sizeof(one)) std::abort();
}

void TcpRelay::Break(State state) {
  MutexLock lock(mu_);
  for (auto& link : links_) EndLink(link.get(), state);
  changed_.SignalAll();
}

void TcpRelay::Cut() { Break(State::kCut); }

void TcpRelay::Reset() { Break(State::kReset); }

void TcpRelay::HalfOpen(End closed) {
  MutexLock lock(mu_);
  for (auto& link : links_) {
    if (link->state == State::kOpen) EndLink(link.get(), closed == End::kNear ? State::kNearClosed : State::kFarClosed);
  }
  changed_.SignalAll();
}

void TcpRelay::SetPace(const Pace& pace) {
  MutexLock lock(mu_);
  pace_ = pace;
  changed_.SignalAll();
}

void TcpRelay::Refuse(bool refuse) {
  MutexLock lock(mu_);
  refuse_ = refuse;
}

int TcpRelay::accepted() const {
  MutexLock lock(mu_);
  return accepted_;
}

// --- connections ---

void TcpRelay::Accept() {
  while (true) {
    const int near = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    MutexLock lock(mu_);
    if (near < 0 || stopping_) {
      if (near >= 0) close(near);
      return;
    }
    Reap();
    const int far = refuse_ ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in target = Loopback(target_port_);
    if (far < 0 || connect(far, reinterpret_cast<const sockaddr*>(&target), sizeof(target)) != 0) {
      if (far >= 0) close(far);
      close(near);
      continue;
    }
    ++accepted_;
    Link* link = links_.emplace_back(std::make_unique<Link>()).get();
    link->ends[0] = near;
    link->ends[1] = far;
    link->wake = eventfd(0, EFD_CLOEXEC);
    for (int from = 0; from < 2; ++from) link->pumps[from] = std::thread([this, link, from] { Pump(link, from); });
  }
}

void TcpRelay::Reap() {
  links_.remove_if([](const std::unique_ptr<Link>& link) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (link->pumps_left > 0) return false;
    for (std::thread& pump : link->pumps) pump.join();
    close(link->wake);
    return true;
  });
}

TcpRelay::State TcpRelay::StateOf(Link* link) const {
  MutexLock lock(mu_);
  return link->state;
}

bool TcpRelay::Hold(Link* link, absl::Duration time) {
  const absl::Time until = absl::Now() + time;
  MutexLock lock(mu_);
  while (link->state == State::kOpen) {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) return true;
    changed_.WaitFor(mu_, left);
  }
  return false;
}

bool TcpRelay::Pass(Link* link, int to, std::string_view bytes) {
  Pace pace;
  {
    MutexLock lock(mu_);
    while (pace_.stopped && link->state == State::kOpen) changed_.Wait(mu_);
    pace = pace_;
  }
  if (pace.delay > absl::ZeroDuration() && !Hold(link, pace.delay)) return false;
  while (!bytes.empty()) {
    size_t piece = bytes.size();
    if (pace.bytes_per_second > 0) {
      piece = std::min(piece, std::max<size_t>(1, pace.bytes_per_second * absl::ToInt64Milliseconds(kTrickle) / 1'000));
      if (!Hold(link, kTrickle)) return false;
      MutexLock lock(mu_);
      pace.bytes_per_second = pace_.bytes_per_second;
    }
    if (!Await(to, POLLOUT, link->wake)) return false;
    const ssize_t sent = send(to, bytes.data(), piece, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void TcpRelay::Pump(Link* link, int from) {
  const int source = link->ends[from], to = link->ends[1 - from];
  char buffer[64 << 10];
  while (Await(source, POLLIN, link->wake)) {
    const ssize_t got = recv(source, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0 || !Pass(link, to, {buffer, static_cast<size_t>(got)})) break;
  }
  {
    MutexLock lock(mu_);
    if (link->state == State::kOpen) {
      EndLink(link, State::kCut);  // one side has ended: so does the other
      changed_.SignalAll();
    }
  }
  // At the end that was not told, what comes is swallowed, until everything ends.
  const State half = from == 0 ? State::kFarClosed : State::kNearClosed;
  if (StateOf(link) == half) {
    shutdown(to, SHUT_RDWR);
    while (StateOf(link) == half) {
      pollfd fd = {source, POLLIN, 0};
      if (poll(&fd, 1, 50) > 0 && recv(source, buffer, sizeof(buffer), MSG_DONTWAIT) == 0) break;
    }
  }
  MutexLock lock(mu_);
  if (--link->pumps_left == 0) {
    if (link->state == State::kReset) {
      const linger reset = {1, 0};
      for (int end : link->ends) setsockopt(end, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
    for (int end : link->ends) close(end);
  } else if (link->state == State::kCut) {
    for (int end : link->ends) shutdown(end, SHUT_RDWR);
  }
  changed_.SignalAll();
}

}  // namespace penstock::testing
