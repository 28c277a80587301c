#ifndef PENSTOCK_CLIENT_TASK_SPEC_H_
#define PENSTOCK_CLIENT_TASK_SPEC_H_

// The library's structs to and from the API's messages.

#include "absl/status/status.h"
#include "client/explanation.h"
#include "client/subscription.h"
#include "client/task.h"
#include "client/task_change.h"
#include "penstock/v1/task.pb.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock {

// Fills `spec`, taking the payload. Checks what the broker would refuse, except sizes it can be configured for, so that
// one caller's mistake does not fail a frame that others share. InvalidArgument names the field.
absl::Status FillTaskSpec(NewTask task, v1::TaskSpec* spec);

TaskInfo ToTaskInfo(v1::Task task);
FinishedTask ToFinishedTask(const v1::TaskEvent& event);
TaskExplanation ToExplanation(const v1::ExplainTaskResponse& response);

v1::Backoff ToProto(BackoffKind backoff);
// In place of the whole policy that `options` has.
void SetPolicy(const TaskRetryPolicy& policy, EnqueueOptions* options);

// InvalidArgument names the field.
absl::Status FillUpdate(TaskId id, const TaskChange& change, v1::UpdateTaskRequest* request);
ChangedTask ToChangedTask(const v1::UpdateTaskResponse& response);

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_TASK_SPEC_H_
