#ifndef PENSTOCK_BROKER_RPC_LISTENER_H_
#define PENSTOCK_BROKER_RPC_LISTENER_H_

#include <sys/stat.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock::broker {

// Listens and accepts for the gRPC server, in a thread of its own. gRPC 1.51's own loop never accepts again after the
// process once ran out of file descriptors (CVE-2023-4785); this one keeps some in hand: it takes `connections_max` at
// a time, closes what comes beyond that at once, and goes on as soon as others have ended.
class Listener {
 public:
  // Listens on host:port, on every address of a name; port 0: any free one. InvalidArgument: that is no address.
  // Unavailable: it is taken, or not ours.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const std::string& address, size_t connections_max);
  ~Listener();

  int port() const { return port_; }
  // `take` gets every connection, and owns it; from one thread.
  void Start(std::function<void(int fd)> take);
  // Accepts no more; returns when `take` is not running any more. Safe twice.
  void Stop();

 private:
  // A connection that was taken. Its descriptor may have been closed and used again for something else since.
  struct Connection {
    int fd;
    ino_t inode;
  };

  explicit Listener(size_t connections_max) : connections_max_(connections_max) {}
  absl::Status Bind(const std::string& host, const std::string& port);
  void Run();
  void Accept(int listening);
  void AcceptToRefuse(int listening);
  bool HasRoom();

  const size_t connections_max_;
  int port_ = 0;
  std::vector<int> listening_;
  int wake_ = -1;   // readable: the end has come
  int spare_ = -1;  // given up for a moment when there is no other descriptor, to refuse instead of to be deaf
  std::function<void(int)> take_;
  // Of the accepting thread.
  std::vector<Connection> connections_;
  absl::Time counted_;
  absl::Time complained_;
  std::thread thread_;
};

// The most connections that leave enough descriptors to the store and the rest: at most three quarters of those that
// the process may open.
size_t ConnectionsThatFit(size_t wanted);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_LISTENER_H_
