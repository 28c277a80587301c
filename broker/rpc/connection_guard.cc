#include "broker/rpc/connection_guard.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace penstock::broker {
namespace {

constexpr absl::Duration kWhile = absl::Seconds(10);
constexpr absl::Duration kLookAgain = absl::Milliseconds(100);
// The head of a frame begins a call, with nothing in it.
constexpr uint64_t kCallBytesMin = 9;
// Calls that brought a request are held while the disk stalls, also those whose callers have given up: a connection may
// have more of them.
constexpr uint64_t kWithRequests = 4;
// Looks take this part of the listener's time at most: they cost with the number of connections.
constexpr int64_t kPause = 10;

uint64_t Above(uint64_t count, uint64_t before) { return count - std::min(count, before); }

// That gRPC has read: what waits in the kernel yet has begun no call.
uint64_t ReadBytes(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  int waiting = 0;
  if (ioctl(fd, SIOCINQ, &waiting) != 0) return 0;
  const uint64_t received = info.tcpi_bytes_received;
  return Above(received, static_cast<uint64_t>(std::max(waiting, 0)));
}

// gRPC may close the descriptor at any time, and another thread may open the same number: only a copy that turns out
// to be the connection can be closed without harm.
bool Shut(const OpenConnections::Connection& connection) {
  const int fd = fcntl(connection.fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return false;
  struct stat state {};
  const bool same = fstat(fd, &state) == 0 && state.st_ino == connection.inode;
  if (same) {
    shutdown(fd, SHUT_RDWR);
    // What has come already is not for gRPC any more: megabytes of calls to begin.
    while (recv(fd, nullptr, 1 << 20, MSG_TRUNC | MSG_DONTWAIT) > 0) {
    }
  }
  close(fd);
  return same;
}

}  // namespace

bool CallBudget::Due(uint64_t started) {
  if (started - started_ < calls_max_ / 4) return false;
  started_ = started;
  return true;
}

std::vector<ino_t> CallBudget::Doubtful(const std::map<ino_t, uint64_t>& read) {
  std::erase_if(seen_, [&](const auto& seen) { return !read.contains(seen.first); });
  std::vector<ino_t> doubtful;
  for (const auto& [connection, bytes] : read) {
    const auto found = seen_.find(connection);
    const Seen seen = found != seen_.end() ? found->second : Seen();
    if (seen.shut) continue;
    const uint64_t calls = std::max(seen.calls.held, Above(seen.calls.empty, seen.empty_before));
    const uint64_t begun_max = Above(bytes, seen.read) / kCallBytesMin;
    if (calls + begun_max > calls_max_) doubtful.push_back(connection);
  }
  return doubtful;
}

bool CallBudget::Exceeded(ino_t connection, uint64_t read, const CallsOfConnection& calls, absl::Duration now) {
  Seen& seen = seen_[connection];
  if (now - seen.began >= kWhile) {
    seen.began = now;
    seen.empty_before = seen.calls.empty;
  }
  // A call is empty until its request has been read, so the number falls, too.
  seen.empty_before = std::min(seen.empty_before, calls.empty);
  seen.read = read;
  seen.calls = calls;
  return Above(calls.empty, seen.empty_before) > calls_max_ || std::min(calls.held, calls.empty) > calls_max_ ||
         calls.held > kWithRequests * calls_max_;
}

bool ConnectionGuard::Due(absl::Duration now) {
  if (now < next_) return false;
  next_ = now + kLookAgain;
  return budget_.Due(calls_.Started());
}

void ConnectionGuard::Looked(absl::Duration took, absl::Duration now) { next_ = std::max(next_, now + kPause * took); }

std::vector<ConnectionGuard::Closed> ConnectionGuard::Look(const std::vector<OpenConnections::Connection>& open,
                                                           absl::Duration now) {
  std::map<ino_t, uint64_t> read;
  for (const auto& connection : open) read[connection.inode] = ReadBytes(connection.fd);
  const std::vector<ino_t> doubtful = budget_.Doubtful(read);
  if (doubtful.empty()) return {};
  std::vector<OpenConnections::Connection> asked;
  std::vector<Peer> peers;
  for (const auto& connection : open) {
    if (!std::binary_search(doubtful.begin(), doubtful.end(), connection.inode)) continue;
    asked.push_back(connection);
    peers.push_back(connection.peer);
  }
  const std::map<Peer, CallsOfConnection> calls = calls_.Of(peers);
  std::vector<Closed> closed;
  for (const auto& connection : asked) {
    const auto found = calls.find(connection.peer);
    if (found == calls.end()) continue;
    if (!budget_.Exceeded(connection.inode, read[connection.inode], found->second, now)) continue;
    if (!Shut(connection)) continue;  // it has ended by itself, or there is no descriptor: the next look tries again
    budget_.SetShut(connection.inode);
    closed.push_back({connection.peer, found->second});
  }
  return closed;
}

}  // namespace penstock::broker
