#ifndef PENSTOCK_BROKER_RPC_DELIVERY_WIRE_H_
#define PENSTOCK_BROKER_RPC_DELIVERY_WIRE_H_

#include <string>

#include "absl/types/span.h"
#include "broker/core/effects.h"
#include "penstock/v1/worker_service.pb.h"

namespace penstock::broker {

// The bytes of a response with these deliveries and whatever else `rest` has, in which there are none. The spec of a
// delivery goes out as it is stored. Building a v1::Delivery would parse the spec only to serialize it again, with ten
// allocations on the way: most of what a task cost the broker's edge (tests/bench/instructions.py, wire_deliver).
std::string SerializeResponse(const v1::WorkResponse& rest, absl::Span<const Delivery> deliveries);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_DELIVERY_WIRE_H_
