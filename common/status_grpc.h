#ifndef PENSTOCK_COMMON_STATUS_GRPC_H_
#define PENSTOCK_COMMON_STATUS_GRPC_H_

// absl::Status to grpc::Status and back: gRPC 1.51 has no conversion.

#include "absl/status/status.h"
#include "common/status_details.h"
#include "grpcpp/support/status.h"

namespace penstock {

// Details travel as a serialized google.rpc.Status, as every gRPC library expects them.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_STATUS_GRPC_H_
