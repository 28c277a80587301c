#ifndef PENSTOCK_CLIENT_CALL_STATUS_H_
#define PENSTOCK_CLIENT_CALL_STATUS_H_

#include "absl/status/status.h"
#include "common/status_grpc.h"

namespace penstock {

// The status of a call that we did not cancel. A broker that stops cancels what it has no time to answer, and gRPC's
// server, in the moment before its clients know that it stops, each new call; to the caller that is a broker which is
// away.
inline absl::Status CallStatus(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::CANCELLED) return FromGrpc(status);
  return absl::UnavailableError("the broker cancelled the call, as one that stops does: " + status.error_message());
}

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_CALL_STATUS_H_
