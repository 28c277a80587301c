#ifndef PENSTOCK_BROKER_RPC_CONVERT_UPDATE_H_
#define PENSTOCK_BROKER_RPC_CONVERT_UPDATE_H_

// UpdateTask: which fields of a task it changes, and what the task is then.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/command.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/convert.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// The fields of TaskSpec that the request names or, without a mask, sets; each once.
absl::StatusOr<std::vector<std::string>> ChangedFields(const v1::UpdateTaskRequest& request);

// Changes these fields of `spec` to what the request has, a field that it has not set to its default, and checks the
// whole as an enqueue does. Task and revision are the caller's to fill in. `now` is wall time.
absl::StatusOr<Sized<UpdateTaskCommand>> ToCommand(const v1::UpdateTaskRequest& request,
                                                   const std::vector<std::string>& fields, v1::TaskSpec spec,
                                                   const ApiLimits& limits, Time now);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONVERT_UPDATE_H_
