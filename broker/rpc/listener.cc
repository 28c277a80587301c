#include "broker/rpc/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/time/clock.h"
#include "common/logging.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr int kBacklog = 1'024;
// Counting looks at every connection: not more often than this.
constexpr absl::Duration kCountAgain = absl::Milliseconds(100);
constexpr absl::Duration kComplainAgain = absl::Seconds(10);

std::string Reason(int error) { return std::generic_category().message(error); }

struct Addresses {
  addrinfo* first = nullptr;
  ~Addresses() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

void SetPort(int port, addrinfo* address) {
  auto& in = address->ai_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(address->ai_addr)->sin6_port
                                            : reinterpret_cast<sockaddr_in*>(address->ai_addr)->sin_port;
  in = htons(static_cast<uint16_t>(port));
}

// 0, or the error. SO_REUSEPORT stays off: a second broker could listen on the same port with it.
int ListenOn(const addrinfo& address, int* out) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  const int no = 0;
  if (address.ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
  if (bind(fd, address.ai_addr, address.ai_addrlen) != 0 || listen(fd, kBacklog) != 0) {
    const int error = errno;
    close(fd);
    return error;
  }
  *out = fd;
  return 0;
}

}  // namespace

size_t ConnectionsThatFit(size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  return std::max<size_t>(16, std::min<size_t>(wanted, limit.rlim_cur / 4 * 3));
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const std::string& address, size_t connections_max) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(fmt::format("'{}' is no address; write for instance 127.0.0.1:7420", address));
  }
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  std::unique_ptr<Listener> listener(new Listener(connections_max));
  RETURN_IF_ERROR(listener->Bind(host, address.substr(colon + 1)));
  listener->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  listener->spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (listener->wake_ < 0 || listener->spare_ < 0) {
    return absl::UnavailableError(fmt::format("cannot listen on {}: {}", address, Reason(errno)));
  }
  return listener;
}

absl::Status Listener::Bind(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  Addresses found;
  const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found.first);
  if (error != 0) {
    return absl::InvalidArgumentError(fmt::format("cannot listen on {}:{}: {}", host, port, gai_strerror(error)));
  }
  int failure = 0;
  for (addrinfo* address = found.first; address != nullptr; address = address->ai_next) {
    if (port_ != 0) SetPort(port_, address);  // a name's addresses have one port
    int fd = -1;
    if (const int problem = ListenOn(*address, &fd); problem != 0) {
      // A machine may resolve a name to an address of a family that it does not have.
      if (problem != EAFNOSUPPORT && problem != EADDRNOTAVAIL) failure = problem;
      if (failure == 0 && address->ai_next == nullptr && listening_.empty()) failure = problem;
      continue;
    }
    listening_.push_back(fd);
    port_ = PortOf(fd);
  }
  if (failure == 0 && !listening_.empty()) return absl::OkStatus();
  return absl::UnavailableError(fmt::format(
      "cannot listen on {}:{}: {}. Stop what listens there, or choose another address", host, port, Reason(failure)));
}

Listener::~Listener() {
  Stop();
  for (int fd : listening_) close(fd);
  for (int fd : {wake_, spare_}) {
    if (fd >= 0) close(fd);
  }
}

void Listener::Start(std::function<void(int fd)> take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  if (write(wake_, &one, sizeof(one)) != sizeof(one)) LogFor("rpc").error("the listener cannot be woken");
  thread_.join();
}

void Listener::Run() {
  std::vector<pollfd> waited = {{wake_, POLLIN, 0}};
  for (int fd : listening_) waited.push_back({fd, POLLIN, 0});
  while (true) {
    if (poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) {
      LogFor("rpc").error("listening failed error=\"{}\"", Reason(errno));
      absl::SleepFor(kCountAgain);
      continue;
    }
    if (waited[0].revents != 0) return;
    for (size_t i = 1; i < waited.size(); ++i) {
      if (waited[i].revents != 0) Accept(waited[i].fd);
    }
  }
}

void Listener::Accept(int listening) {
  if (!HasRoom()) return AcceptToRefuse(listening);
  const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) {
    const int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    struct stat state {};
    fstat(fd, &state);
    connections_.push_back({fd, state.st_ino});
    return take_(fd);
  }
  if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return AcceptToRefuse(listening);
  // Anything else is about that one connection (it is gone already, for instance), or nothing (somebody was faster).
}

void Listener::AcceptToRefuse(int listening) {
  if (absl::Now() - complained_ >= kComplainAgain) {
    complained_ = absl::Now();
    LogFor("rpc").warn("connections refused open={} limits.connections={}", connections_.size(), connections_max_);
  }
  close(spare_);
  const int fd = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) close(fd);
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  // Others wait for descriptors too: no busy loop.
  if (fd < 0) absl::SleepFor(absl::Milliseconds(10));
}

bool Listener::HasRoom() {
  if (connections_.size() < connections_max_) return true;
  const absl::Time now = absl::Now();
  if (now - counted_ < kCountAgain) return false;
  counted_ = now;
  // gRPC closes them without a word; a socket's inode tells whether the descriptor is still the same.
  std::erase_if(connections_, [](const Connection& connection) {
    struct stat state {};
    return fstat(connection.fd, &state) != 0 || state.st_ino != connection.inode;
  });
  return connections_.size() < connections_max_;
}

}  // namespace penstock::broker
