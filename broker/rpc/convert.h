#ifndef PENSTOCK_BROKER_RPC_CONVERT_H_
#define PENSTOCK_BROKER_RPC_CONVERT_H_

// What services call, in the core's words and back: TaskService. Every field of a request is checked here and nowhere
// else. convert_worker.h does the same for WorkerService, convert_queue.h for AdminService.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/fields.h"
#include "common/status.h"
#include "penstock/v1/task.pb.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// A command and about what it holds in memory, for the mailbox's limit.
template <class CommandType>
struct Sized {
  CommandType command;
  size_t bytes = 0;
};

// The views of the command point into one buffer, which it keeps alive; the request may be used again at once. `now` is
// wall time.
absl::StatusOr<Sized<EnqueueCommand>> ToCommand(const v1::EnqueueRequest& request, const ApiLimits& limits, Time now);
absl::StatusOr<Sized<EnqueueCommand>> ToCommand(const v1::EnqueueManyRequest& request, const ApiLimits& limits,
                                                Time now);
// A frame of the producer with this id.
absl::StatusOr<Sized<EnqueueCommand>> ToCommand(const v1::EnqueueStreamRequest& request, std::string_view producer_id,
                                                const ApiLimits& limits, Time now);

inline constexpr size_t kProducerIdBytes = 16;

// A task that is not to be enqueued yet: all checks, and views into `spec`, of which `task.spec` and `task.labels`
// (LabelText of spec.worker_labels, storage/labels.h) are not set.
absl::StatusOr<NewTask> ToTask(const FieldPath& field, const v1::TaskSpec& spec, const ApiLimits& limits, Time now);

// Tasks of a message that is none of the above, checked as for an enqueue. Their views point into one buffer, which
// `tasks` keeps alive.
struct ConvertedTasks {
  std::shared_ptr<const std::vector<NewTask>> tasks;
  size_t bytes = 0;
};
absl::StatusOr<ConvertedTasks> ToTasks(const std::vector<const v1::TaskSpec*>& specs,
                                       absl::FunctionRef<FieldPath(size_t)> path_of, const ApiLimits& limits, Time now);

absl::StatusOr<DeleteTaskCommand> ToCommand(const v1::DeleteTaskRequest& request);
absl::StatusOr<CancelTaskCommand> ToCommand(const v1::CancelTaskRequest& request, const ApiLimits& limits);
absl::StatusOr<RetryTaskCommand> ToCommand(const v1::RetryTaskRequest& request);

absl::StatusOr<RetryPolicyChange> ToRetryPolicyChange(const FieldPath& field, const v1::RetryPolicy& policy,
                                                      const ApiLimits& limits);
void ToProto(const RetryPolicy& policy, v1::RetryPolicy* out);

void ToProto(const EnqueueResult& result, v1::EnqueueResult* out);
absl::StatusOr<ExplainTaskCommand> ToCommand(const v1::ExplainTaskRequest& request);
void ToProto(const ExplainReply& explain, v1::ExplainTaskResponse* out);
// REQUIRES: it is known.
void ToProto(const SpanEstimate& estimate, v1::TimeEstimate* out);
inline v1::TaskState ToProto(State state) { return static_cast<v1::TaskState>(state); }

// page_size as it counts: the default for 0.
absl::StatusOr<uint32_t> ToPageSize(int32_t page_size, const ApiLimits& limits);
// The page of a list in the order of names: its token is the last name of the page before. `method`: that lists them.
template <class Command, class Request>
absl::StatusOr<Command> ToNamePage(const Request& request, std::string_view method, const ApiLimits& limits) {
  Command command;
  ASSIGN_OR_RETURN(command.limit, ToPageSize(request.page_size(), limits));
  if (!request.page_token().empty() && !CheckName(FieldPath("page_token"), request.page_token(), limits.name).ok()) {
    return BadField(FieldPath("page_token"), "is none that " + std::string(method) + " gave");
  }
  command.after = request.page_token();
  return command;
}
// A verb for what has a name and needs no more.
template <class Command, class Verb>
absl::StatusOr<Command> ToNamedCommand(Verb verb, std::string_view name, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckName(FieldPath("name"), name, limits.name));
  Command command;
  command.verb = verb;
  command.name = name;
  return command;
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONVERT_H_
