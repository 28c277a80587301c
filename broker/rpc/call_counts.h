#ifndef PENSTOCK_BROKER_RPC_CALL_COUNTS_H_
#define PENSTOCK_BROKER_RPC_CALL_COUNTS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "broker/rpc/peer.h"

namespace penstock::broker {

struct CallsOfConnection {
  // That take memory: those that are open, and those that have ended and are not forgotten yet.
  uint64_t held = 0;
  // Since the connection began: without an answer to their end, or a request, whichever gives the smaller number.
  uint64_t empty = 0;
};

// What is known of calls below the services, where the reset ones end. From one thread.
class CallCounts {
 public:
  virtual ~CallCounts() = default;
  // Calls begun so far, of all connections. Cheap.
  virtual uint64_t Started() = 0;
  // A connection that has not said that it speaks HTTP/2, or is closed, is left out.
  virtual std::map<Peer, CallsOfConnection> Of(const std::vector<Peer>& peers) = 0;
};

// From gRPC's own counters (channelz), of every server in this process. 10 us for Started, 40 us for each connection
// in Of, and a walk through all connections when one of them is asked for the first time.
class GrpcCallCounts : public CallCounts {
 public:
  uint64_t Started() override;
  std::map<Peer, CallsOfConnection> Of(const std::vector<Peer>& peers) override;

 private:
  void FindSockets();

  std::map<Peer, intptr_t> sockets_;  // gRPC's numbers for them; never used again for others
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CALL_COUNTS_H_
