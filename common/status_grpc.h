#ifndef PENSTOCK_COMMON_STATUS_GRPC_H_
#define PENSTOCK_COMMON_STATUS_GRPC_H_

// absl::Status to grpc::Status and back: gRPC 1.51 has no conversion.

#include "absl/status/status.h"
#include "common/status_details.h"
#include "google/protobuf/any.pb.h"
#include "google/protobuf/repeated_field.h"
#include "grpcpp/support/status.h"

namespace penstock {

// Details travel as a serialized google.rpc.Status, as every gRPC library expects them.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

// The details alone, for messages that carry a status of their own, as the answers of a stream do.
void AddDetails(const absl::Status& status, google::protobuf::RepeatedPtrField<google::protobuf::Any>* details);
void SetDetails(const google::protobuf::RepeatedPtrField<google::protobuf::Any>& details, absl::Status* status);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_STATUS_GRPC_H_
