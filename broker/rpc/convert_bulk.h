#ifndef PENSTOCK_BROKER_RPC_CONVERT_BULK_H_
#define PENSTOCK_BROKER_RPC_CONVERT_BULK_H_

// What BulkService is asked for, checked.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/command.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/task_filter.h"
#include "penstock/v1/bulk_service.pb.h"

namespace penstock::broker {

// A job that is not there yet.
struct BulkOrder {
  v1::BulkJobSpec spec;  // its filter names the states
  std::shared_ptr<const TaskFilter> filter;
  RequestId request;
};

// `now` is wall time: what becomes of tasks later is none of the job's business.
absl::StatusOr<BulkOrder> ToOrder(const v1::StartBulkJobRequest& request, const ApiLimits& limits, Time now);
// The filter of a spec, as it was when the job began.
absl::StatusOr<std::shared_ptr<const TaskFilter>> ToBulkFilter(const v1::BulkJobSpec& spec, const ApiLimits& limits,
                                                               Time begin);

// The states of tasks that the action is for.
std::vector<v1::TaskState> StatesOf(v1::BulkAction action);
// "cancel".
std::string WordOf(v1::BulkAction action);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONVERT_BULK_H_
