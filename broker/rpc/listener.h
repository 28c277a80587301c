#ifndef PENSTOCK_BROKER_RPC_LISTENER_H_
#define PENSTOCK_BROKER_RPC_LISTENER_H_

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/rpc/call_counts.h"
#include "broker/rpc/connection_guard.h"
#include "broker/rpc/open_connections.h"
#include "broker/rpc/peer.h"
#include "common/mutex.h"

namespace penstock::broker {

struct ListenerOptions {
  // host:port; every address of a name; port 0: any free one.
  std::string address;
  // Connections at a time, in all and from one address (Peer::Network).
  size_t connections_max = 10'000;
  size_t connections_per_address_max = 2'000;
  // Where to ask for the calls of a connection; outlives the listener. Null: it may have any number.
  CallCounts* calls = nullptr;
  uint64_t calls_max = 3'000;  // as in CallBudget
};

// Since the start, but for `open`.
struct ListenerFigures {
  size_t open = 0;
  uint64_t accepted = 0;
  std::map<std::string, uint64_t> refused;  // by the option whose limit was reached, "resets" or "open_files"
  uint64_t shut = 0;                        // for their calls
};

// Listens and accepts for the gRPC server, in a thread of its own. gRPC 1.51's own loop never accepts again after the
// process once ran out of file descriptors (CVE-2023-4785); this one keeps some in hand: it closes at once what comes
// beyond its limits, and goes on as soon as others have ended.
//
// It also watches what it accepted, shuts connections of too many calls (ConnectionGuard), and takes no more from
// where they came for a while.
//
// The broker's own connections to itself (broker/rpc/probe.h) pass by the limits: whoever fills these must not make a
// broker believe that it is deaf.
class Listener {
 public:
  // InvalidArgument: that is no address. Unavailable: it is taken, or not ours.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const ListenerOptions& options);
  ~Listener();

  int port() const { return port_; }
  // Those that it listens on, the wildcard addresses among them, with their port.
  std::vector<sockaddr_storage> addresses() const { return addresses_; }
  // `take` gets every connection, and owns it; from one thread. `own`: ExpectOwn announced it.
  void Start(std::function<void(int fd, bool own)> take);
  // Accepts no more, and closes its sockets, so that others are told at once; returns when `take` is not running any
  // more. Safe twice.
  void Stop();

  // The next connection from there comes from this process. The caller holds that address and port, bound for itself
  // alone, until after ForgetOwn. Any thread.
  void ExpectOwn(const Peer& peer);
  void ForgetOwn(const Peer& peer);

  // Any thread. Counts the open connections: not for every call.
  ListenerFigures figures() const;

 private:
  explicit Listener(const ListenerOptions& options);
  absl::Status Bind(const std::string& host, const std::string& port);
  void Run();
  void Accept(int listening);
  void AcceptToRefuse(int listening);
  // Takes account of a connection that was accepted.
  ConnectionLimit Judge(int fd, const Peer& peer, bool* own);
  // Closes the connection, counts it, and says so now and then.
  void Refuse(int fd, const Peer& peer, ConnectionLimit reached);
  // Shuts connections of too many calls, if it is time to look.
  void Guard();
  void CloseListening();

  const ListenerOptions options_;
  // Constant after Open.
  int port_ = 0;
  std::vector<sockaddr_storage> addresses_;
  int wake_ = -1;  // readable: the end has come

  std::function<void(int, bool)> take_;
  std::thread thread_;
  // Of the accepting thread, once there is one.
  std::vector<int> listening_;
  int spare_ = -1;  // given up for a moment when there is no other descriptor, to refuse instead of to be deaf
  absl::Duration complained_ = -absl::InfiniteDuration();
  uint64_t refused_since_ = 0;
  std::optional<ConnectionGuard> guard_;
  absl::Duration told_of_shut_ = -absl::InfiniteDuration();
  uint64_t shut_since_ = 0;

  mutable Mutex mu_;
  mutable OpenConnections open_ ABSL_GUARDED_BY(mu_);
  std::set<Peer> own_ ABSL_GUARDED_BY(mu_);
  uint64_t accepted_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, uint64_t> refused_ ABSL_GUARDED_BY(mu_);
  uint64_t shut_ ABSL_GUARDED_BY(mu_) = 0;
};

// `wanted`, or as many as leave `others` of the files that the process may open to the rest of the broker; where that
// is very few, a quarter of them.
size_t ConnectionsThatFit(size_t wanted, size_t others);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_LISTENER_H_
