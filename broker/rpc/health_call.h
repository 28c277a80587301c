#ifndef PENSTOCK_BROKER_RPC_HEALTH_CALL_H_
#define PENSTOCK_BROKER_RPC_HEALTH_CALL_H_

#include "absl/status/status.h"
#include "broker/rpc/timed_wire.h"

namespace penstock::broker {

// Asks the gRPC server at the other end how it is, with the call Check of grpc.health.v1 for the service "". OK: it
// answered, whatever it said. Internal: what came is no answer to that. Otherwise as TimedWire.
//
// Written by hand, in the HTTP/2 that this one call needs (RFC 9113): gRPC's own client shares threads with the server
// of the same process, and whether these still work is the question.
absl::Status CallHealth(TimedWire& wire);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_HEALTH_CALL_H_
