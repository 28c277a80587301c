#ifndef PENSTOCK_BROKER_RPC_CONVERT_QUEUE_H_
#define PENSTOCK_BROKER_RPC_CONVERT_QUEUE_H_

// What operators call, in the core's words and back: AdminService.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/rate_meter.h"
#include "penstock/v1/admin_service.pb.h"

namespace penstock::broker {

absl::StatusOr<QueueCommand> ToCommand(const v1::CreateQueueRequest& request, const ApiLimits& limits);
// A path of the mask whose setting is absent sets the default again.
absl::StatusOr<QueueCommand> ToCommand(const v1::UpdateQueueRequest& request, const ApiLimits& limits);
// Of a request that names a queue and no more.
absl::StatusOr<QueueCommand> ToQueueCommand(QueueVerb verb, std::string_view name, const ApiLimits& limits);
absl::StatusOr<DeadTasksCommand> ToCommand(const v1::RedriveDeadTasksRequest& request, const ApiLimits& limits);
absl::StatusOr<DeadTasksCommand> ToCommand(const v1::PurgeDeadTasksRequest& request, const ApiLimits& limits);
absl::StatusOr<ListKeysCommand> ToCommand(const v1::ListKeysRequest& request, const ApiLimits& limits);
absl::StatusOr<ReleaseKeyCommand> ToCommand(const v1::ReleaseKeyRequest& request, const ApiLimits& limits);
absl::StatusOr<DrainWorkerCommand> ToCommand(const v1::DrainWorkerRequest& request, const ApiLimits& limits);

void ToProto(const QueueView& queue, const Rates& rates, Time now, v1::Queue* out);
// Adds up; the oldest age is the greatest. Rates are set, types left alone.
void AddToTotals(const QueueView& queue, Time now, v1::QueueStats* totals);
void ToProto(const WorkerView& worker, v1::Worker* out);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONVERT_QUEUE_H_
