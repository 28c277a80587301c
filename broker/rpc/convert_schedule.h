#ifndef PENSTOCK_BROKER_RPC_CONVERT_SCHEDULE_H_
#define PENSTOCK_BROKER_RPC_CONVERT_SCHEDULE_H_

// Schedules in the core's words and back: ScheduleService.

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/convert.h"
#include "penstock/v1/schedule_service.pb.h"

namespace penstock::broker {

// `now` is wall time: times without a tick after it are refused.
absl::StatusOr<Sized<ScheduleCommand>> ToCommand(const v1::CreateScheduleRequest& request, const ApiLimits& limits,
                                                 Time now);
absl::StatusOr<Sized<ScheduleCommand>> ToCommand(const v1::UpdateScheduleRequest& request, const ApiLimits& limits,
                                                 Time now);
// Of a request that names a schedule and no more.
absl::StatusOr<ScheduleCommand> ToScheduleCommand(ScheduleVerb verb, std::string_view name, const ApiLimits& limits);
absl::StatusOr<ListSchedulesCommand> ToCommand(const v1::ListSchedulesRequest& request, const ApiLimits& limits);

// The ticks that are asked for.
absl::StatusOr<std::vector<Time>> PreviewTicks(const v1::PreviewScheduleRequest& request, const ApiLimits& limits,
                                               Time now);

// How much of a schedule is shown.
enum class ScheduleDetail { kAll, kInList };
void ToProto(const ScheduleView& schedule, ScheduleDetail detail, v1::Schedule* out);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONVERT_SCHEDULE_H_
