#ifndef PENSTOCK_BROKER_RPC_DELIVERY_WIRE_H_
#define PENSTOCK_BROKER_RPC_DELIVERY_WIRE_H_

#include "broker/core/effects.h"
#include "penstock/v1/worker_service.pb.h"

namespace penstock::broker {

// Adds a delivery to a response as it will stand on the wire, its spec being the bytes that are stored. Building a
// v1::Delivery would parse the spec only to serialize it again, with ten allocations on the way: most of what a task
// cost the broker's edge (tests/bench/instructions.py, wire_deliver).
//
// The bytes go where a message keeps fields that it does not know. So deliveries() of `out` does not show them; a
// reader of the wire sees them as any others. Wire format: https://protobuf.dev/programming-guides/encoding/
void AddDelivery(const Delivery& delivery, v1::WorkResponse* out);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_DELIVERY_WIRE_H_
