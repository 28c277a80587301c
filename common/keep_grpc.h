#ifndef PENSTOCK_COMMON_KEEP_GRPC_H_
#define PENSTOCK_COMMON_KEEP_GRPC_H_

#include <memory>

#include "grpcpp/channel.h"

namespace penstock {

// gRPC 1.51 frees its threads for callbacks with the last channel that used them, and sometimes aborts doing so (a
// reference of the completion queue is dropped twice). So the first channel that makes a callback call is kept for the
// life of the process; idle, it costs nothing.
inline void KeepGrpcCallbacks(const std::shared_ptr<grpc::Channel>& channel) {
  [[maybe_unused]] static const auto* const kept = new std::shared_ptr<grpc::Channel>(channel);
}

}  // namespace penstock

#endif  // PENSTOCK_COMMON_KEEP_GRPC_H_
