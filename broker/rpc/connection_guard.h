#ifndef PENSTOCK_BROKER_RPC_CONNECTION_GUARD_H_
#define PENSTOCK_BROKER_RPC_CONNECTION_GUARD_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "broker/rpc/call_counts.h"
#include "broker/rpc/open_connections.h"

namespace penstock::broker {

// Which connections are worth a look, and which look bad, by the figures alone.
//
// HTTP/2 lets a client have so many calls open; one that it resets is not open any more, and it may begin the next. But
// gRPC 1.51 forgets the calls of a connection only when it has read all that the connection sent. A client that begins
// calls and resets them without a pause is never read to the end, and its calls stay, 20 kB each (CVE-2023-44487).
// They are counted here: a client that lets calls end cannot have many more than those that may be open.
//
// Where gRPC does forget them, such a client still takes all the time of the processor. So there cannot be many calls
// in a while that brought no request and got no answer.
//
// Calls that did bring a request are the broker's to answer: while its disk stalls, those whose callers have given up
// stay with those that take their place, and a connection may have many more.
class CallBudget {
 public:
  // `calls_max`: that are held without a request, and that were empty in 10 s; four times as many may be held in all.
  explicit CallBudget(uint64_t calls_max) : calls_max_(calls_max) {}

  // Whether so many calls were begun since the last time it said yes that a connection may hold too many.
  bool Due(uint64_t started);
  // Those of the open connections that may hold too many, by the bytes that were read of each.
  std::vector<ino_t> Doubtful(const std::map<ino_t, uint64_t>& read);
  // Takes note of a doubtful connection. True: it has too many.
  bool Exceeded(ino_t connection, uint64_t read, const CallsOfConnection& calls, absl::Duration now);
  // It was shut, and is never doubtful again: it ends when gRPC has noticed.
  void SetShut(ino_t connection) { seen_[connection].shut = true; }

 private:
  struct Seen {
    uint64_t read = 0;
    CallsOfConnection calls;
    // When the 10 s began, and with what.
    absl::Duration began = -absl::InfiniteDuration();
    uint64_t empty_before = 0;
    bool shut = false;
  };

  const uint64_t calls_max_;
  uint64_t started_ = 0;
  std::map<ino_t, Seen> seen_;
};

// Closes connections that have too many calls. gRPC notices that they are closed, and forgets their calls. Of the
// listener's thread.
class ConnectionGuard {
 public:
  struct Closed {
    Peer peer;
    CallsOfConnection calls;
  };

  // `calls` outlives the guard.
  ConnectionGuard(uint64_t calls_max, CallCounts& calls) : calls_(calls), budget_(calls_max) {}

  // Whether a look is due: they are so frequent that a connection cannot get far beyond its limit between two.
  bool Due(absl::Duration now);
  // A look took so long, until now.
  void Looked(absl::Duration took, absl::Duration now);
  // Returns those that it closed.
  std::vector<Closed> Look(const std::vector<OpenConnections::Connection>& open, absl::Duration now);

 private:
  CallCounts& calls_;
  CallBudget budget_;
  absl::Duration next_ = -absl::InfiniteDuration();
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONNECTION_GUARD_H_
