#ifndef PENSTOCK_BROKER_RPC_CONVERT_THROTTLE_H_
#define PENSTOCK_BROKER_RPC_CONVERT_THROTTLE_H_

// Throttles in the core's words and back: ThrottleService.

#include <string_view>

#include "absl/status/statusor.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/rpc/api_limits.h"
#include "penstock/v1/throttle_service.pb.h"

namespace penstock::broker {

absl::StatusOr<ThrottleCommand> ToCommand(const v1::CreateThrottleRequest& request, const ApiLimits& limits);
absl::StatusOr<ThrottleCommand> ToCommand(const v1::UpdateThrottleRequest& request, const ApiLimits& limits);
// Of a request that names a throttle and no more.
absl::StatusOr<ThrottleCommand> ToThrottleCommand(ThrottleVerb verb, std::string_view name, const ApiLimits& limits);
absl::StatusOr<ListThrottlesCommand> ToCommand(const v1::ListThrottlesRequest& request, const ApiLimits& limits);

// Names of groups and keys are left out: see MeterView::sample.
void ToProto(const ThrottleView& throttle, v1::Throttle* out);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONVERT_THROTTLE_H_
