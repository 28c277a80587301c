#ifndef PENSTOCK_TESTS_SUPPORT_TCP_RELAY_H_
#define PENSTOCK_TESTS_SUPPORT_TCP_RELAY_H_

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/time/time.h"
#include "common/mutex.h"

namespace penstock::testing {

// A network between two processes that a test can cut, slow down and stop: passes the bytes of TCP connections on to a
// port of this machine. The near end is that of whoever connects, the far end that of the port. Any thread may call.
class TcpRelay {
 public:
  // How bytes travel, in both directions.
  struct Pace {
    absl::Duration delay = {};    // every piece waits for so long
    size_t bytes_per_second = 0;  // 0: as fast as they come; otherwise they trickle
    bool stopped = false;         // nothing passes; connections stay open
  };
  enum class End { kNear, kFar };

  explicit TcpRelay(int target_port);
  ~TcpRelay();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Ends every connection that is open, in good order (FIN).
  void Cut();
  // The same, with a reset (RST) for both ends.
  void Reset();
  // Ends every open connection at one end only. The other end stays open and is never told: what it sends is swallowed.
  void HalfOpen(End closed);
  // For bytes from now on, of all connections.
  void SetPace(const Pace& pace);
  // From now on new connections are broken at once, or let through again.
  void Refuse(bool refuse);
  // Connections that were accepted so far, those that were refused not counted.
  int accepted() const;

 private:
  enum class State { kOpen, kCut, kReset, kNearClosed, kFarClosed };
  // Both ends of one connection, and a thread for each direction.
  struct Link {
    int ends[2] = {-1, -1};
    int wake = -1;  // readable once the state has changed
    State state = State::kOpen;
    int pumps_left = 2;
    std::thread pumps[2];
  };

  void Accept();
  void Break(State state);
  void EndLink(Link* link, State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Passes on what comes, until either side has ended.
  void Pump(Link* link, int from);
  // False: the connection is over.
  bool Pass(Link* link, int to, std::string_view bytes);
  // Waits for `time`, less if the link's state changes. False: it has.
  bool Hold(Link* link, absl::Duration time);
  State StateOf(Link* link) const;
  // Takes away what is over.
  void Reap() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  mutable Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool refuse_ ABSL_GUARDED_BY(mu_) = false;
  Pace pace_ ABSL_GUARDED_BY(mu_);
  int accepted_ ABSL_GUARDED_BY(mu_) = 0;
  std::list<std::unique_ptr<Link>> links_ ABSL_GUARDED_BY(mu_);
  std::thread acceptor_;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_TCP_RELAY_H_
