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
#include <cstdlib>
#include <system_error>
#include <utility>

#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr int kBacklog = 1'024;
constexpr absl::Duration kComplainAgain = absl::Seconds(10);
constexpr int kGuardMillis = 100;

// The name of the limit in configuration, metrics and log.
const char* NameOf(ConnectionLimit reached) {
  switch (reached) {
    case ConnectionLimit::kNone:
      return "";
    case ConnectionLimit::kInAll:
      return "limits.connections";
    case ConnectionLimit::kPerAddress:
      return "limits.connections_per_address";
    case ConnectionLimit::kResets:
      return "resets";
    case ConnectionLimit::kFiles:
      return "open_files";
  }
  std::abort();
}

std::string Reason(int error) { return std::generic_category().message(error); }

struct Addresses {
  addrinfo* first = nullptr;
  ~Addresses() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

sockaddr_storage AddressOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return address;
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

size_t ConnectionsThatFit(size_t wanted, size_t others) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  const size_t files = limit.rlim_cur;
  const size_t left = std::max(files / 4, files - std::min(files, others));
  return std::max<size_t>(16, std::min(wanted, left));
}

Listener::Listener(const ListenerOptions& options)
    : options_(options), open_(options.connections_max, options.connections_per_address_max) {
  if (options.calls != nullptr) guard_.emplace(options.calls_max, *options.calls);
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const ListenerOptions& options) {
  const std::string& address = options.address;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(fmt::format("'{}' is no address; write for instance 127.0.0.1:7420", address));
  }
  std::string host = address.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  std::unique_ptr<Listener> listener(new Listener(options));
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
    addresses_.push_back(AddressOf(fd));
    port_ = Peer::From(addresses_.back()).port;
  }
  if (failure == 0 && !listening_.empty()) return absl::OkStatus();
  return absl::UnavailableError(fmt::format(
      "cannot listen on {}:{}: {}. Stop what listens there, or choose another address", host, port, Reason(failure)));
}

Listener::~Listener() {
  Stop();
  CloseListening();  // it may not have been started
  for (int fd : {wake_, spare_}) {
    if (fd >= 0) close(fd);
  }
}

void Listener::Start(std::function<void(int fd, bool own)> take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  if (write(wake_, &one, sizeof(one)) != sizeof(one)) LogFor("rpc").error("the listener cannot be woken");
  thread_.join();
  CloseListening();
}

void Listener::CloseListening() {
  for (int fd : listening_) close(fd);
  listening_.clear();
}

void Listener::ExpectOwn(const Peer& peer) {
  MutexLock lock(mu_);
  own_.insert(peer);
}

void Listener::ForgetOwn(const Peer& peer) {
  MutexLock lock(mu_);
  own_.erase(peer);
}

ListenerFigures Listener::figures() const {
  MutexLock lock(mu_);
  return {open_.Count(), accepted_, refused_, shut_};
}

void Listener::Run() {
  std::vector<pollfd> waited = {{wake_, POLLIN, 0}};
  for (int fd : listening_) waited.push_back({fd, POLLIN, 0});
  while (true) {
    if (poll(waited.data(), waited.size(), guard_ ? kGuardMillis : -1) < 0 && errno != EINTR) {
      LogFor("rpc").error("listening failed error=\"{}\"", Reason(errno));
      absl::SleepFor(absl::Milliseconds(100));
      continue;
    }
    if (waited[0].revents != 0) return;
    for (size_t i = 1; i < waited.size(); ++i) {
      if (waited[i].revents != 0) Accept(waited[i].fd);
    }
    if (guard_) Guard();
  }
}

void Listener::Accept(int listening) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  const int fd = accept4(listening, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) AcceptToRefuse(listening);
    // Anything else is about that one connection (it is gone already, for instance), or nothing (somebody was faster).
    return;
  }
  const Peer peer = Peer::From(address);
  bool own = false;
  const ConnectionLimit reached = Judge(fd, peer, &own);
  if (reached != ConnectionLimit::kNone) return Refuse(fd, peer, reached);
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  take_(fd, own);
}

void Listener::AcceptToRefuse(int listening) {
  close(spare_);
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  const int fd = accept4(listening, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC);
  if (fd >= 0) Refuse(fd, Peer::From(address), ConnectionLimit::kFiles);
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  // Others wait for descriptors too: no busy loop.
  if (fd < 0) absl::SleepFor(absl::Milliseconds(10));
}

ConnectionLimit Listener::Judge(int fd, const Peer& peer, bool* own) {
  MutexLock lock(mu_);
  *own = own_.erase(peer) > 0;
  if (*own) return ConnectionLimit::kNone;
  const ConnectionLimit reached = open_.Judge(peer, SystemClock().Read().elapsed);
  if (reached != ConnectionLimit::kNone) return reached;
  open_.Add(fd, peer);
  ++accepted_;
  return ConnectionLimit::kNone;
}

void Listener::Refuse(int fd, const Peer& peer, ConnectionLimit reached) {
  {
    MutexLock lock(mu_);
    ++refused_[NameOf(reached)];
  }
  // Reset, not closed: else each would stay with the kernel for a minute.
  const linger at_once = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd);
  ++refused_since_;
  const absl::Duration now = SystemClock().Read().elapsed;
  if (now - complained_ < kComplainAgain) return;
  complained_ = now;
  LogFor("rpc").warn("connections refused count={} reason={} last_from={}", std::exchange(refused_since_, 0),
                     NameOf(reached), peer.HostText());
}

void Listener::Guard() {
  const absl::Duration now = SystemClock().Read().elapsed;
  if (!guard_->Due(now)) return;
  std::vector<OpenConnections::Connection> open;
  {
    MutexLock lock(mu_);
    open = open_.All();
  }
  const std::vector<ConnectionGuard::Closed> shut = guard_->Look(open, now);
  const absl::Duration end = SystemClock().Read().elapsed;
  guard_->Looked(end - now, end);
  if (shut.empty()) return;
  {
    MutexLock lock(mu_);
    shut_ += shut.size();
    for (const ConnectionGuard::Closed& closed : shut) open_.NoteShut(closed.peer, now);
  }
  shut_since_ += shut.size();
  if (now - told_of_shut_ < kComplainAgain) return;
  told_of_shut_ = now;
  const ConnectionGuard::Closed& last = shut.back();
  LogFor("rpc").warn(
      "connections shut count={} reason=\"too many calls begun and reset\" last_from={} held={} empty={}",
      std::exchange(shut_since_, 0), last.peer.HostText(), last.calls.held, last.calls.empty);
}

}  // namespace penstock::broker
