#ifndef PENSTOCK_BROKER_RPC_PROBE_H_
#define PENSTOCK_BROKER_RPC_PROBE_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/rpc/listener.h"

namespace penstock::broker {

// Connects to each address that `listener` listens on, as a client on this machine would, and asks for health there
// (broker/rpc/health_call.h). OK: all of them answered. Otherwise the first that did not, within `time`, and how.
absl::Status ProbeListener(Listener& listener, bool tls, absl::Duration time);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_PROBE_H_
