#include "broker/http/tcp_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr int kBacklog = 128;

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

// A socket that listens, or -1 and errno.
int ListenOn(const addrinfo& address) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  const int yes = 1;
  // Not SO_REUSEPORT: with it two brokers could share a port unnoticed.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (bind(fd, address.ai_addr, address.ai_addrlen) == 0 && listen(fd, kBacklog) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

absl::Status TcpListener::Start(const std::string& host, int port) {
  RETURN_IF_ERROR(Listen(host, port));
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) return absl::UnavailableError(fmt::format("eventfd: {}", std::strerror(errno)));
  threads_.emplace_back([this] { Accept(); });
  for (size_t i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { Serve(); });
  return absl::OkStatus();
}

absl::Status TcpListener::Listen(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failure != 0) {
    return absl::UnavailableError(fmt::format("cannot listen on {}:{}: {}", host, port, gai_strerror(failure)));
  }
  for (const addrinfo* each = found; each != nullptr && listen_fd_ < 0; each = each->ai_next) {
    listen_fd_ = ListenOn(*each);
  }
  const int error = errno;
  freeaddrinfo(found);
  if (listen_fd_ < 0) {
    return absl::UnavailableError(
        fmt::format("cannot listen on {}:{}: {}. Stop what listens there, or choose another address", host, port,
                    std::strerror(error)));
  }
  port_ = PortOf(listen_fd_);
  return absl::OkStatus();
}

bool TcpListener::WaitForConnection() const {
  pollfd polled[] = {{listen_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
  return poll(polled, 2, -1) > 0 && polled[0].revents != 0;
}

void TcpListener::Accept() {
  while (true) {
    {
      MutexLock lock(mu_);
      while (waiting_.size() >= waiting_max_ && !stopping_) room_.Wait(mu_);
      if (stopping_) return;
    }
    if (!WaitForConnection()) continue;
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      // Anything but a want of descriptors or memory concerns that one connection, which has gone.
      if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue;
      MutexLock lock(mu_);
      if (!stopping_) room_.WaitFor(mu_, absl::Milliseconds(100));
      continue;
    }
    const int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    MutexLock lock(mu_);
    waiting_.push_back(fd);
    work_.Signal();
  }
}

void TcpListener::Serve() {
  while (true) {
    int fd = -1;
    {
      MutexLock lock(mu_);
      while (waiting_.empty() && !stopping_) work_.Wait(mu_);
      if (stopping_) return;
      fd = waiting_.front();
      waiting_.pop_front();
      open_.insert(fd);
      room_.Signal();
    }
    serve_(fd);
    {
      // Before the number may be another connection's.
      MutexLock lock(mu_);
      open_.erase(fd);
    }
    close(fd);
  }
}

void TcpListener::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  work_.SignalAll();
  room_.SignalAll();
  if (wake_fd_ >= 0) eventfd_write(wake_fd_, 1);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  MutexLock lock(mu_);
  for (int fd : waiting_) close(fd);
  waiting_.clear();
  for (int* fd : {&listen_fd_, &wake_fd_}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
}

}  // namespace penstock::broker
