#include "broker/rpc/update_task_call.h"

#include <utility>

#include "broker/rpc/convert_update.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/task_reader.h"
#include "common/status.h"
#include "common/status_grpc.h"
#include "fmt/format.h"

namespace penstock::broker {

void UpdateTaskCall::Start(RpcContext& context, const v1::UpdateTaskRequest& request, v1::UpdateTaskResponse* response,
                           grpc::ServerUnaryReactor* reactor) {
  auto call = std::make_shared<UpdateTaskCall>(context, request, response, reactor);
  if (const absl::Status status = call->Prepare(); !status.ok()) return call->Finish(status);
  call->Look();
}

absl::Status UpdateTaskCall::Prepare() {
  ASSIGN_OR_RETURN(task_, CheckTaskId(FieldPath("task_id"), request_.task_id()));
  ASSIGN_OR_RETURN(fields_, ChangedFields(request_));
  return absl::OkStatus();
}

void UpdateTaskCall::Look() {
  GetTaskCommand command;
  command.task = task_;
  Ask(context_.door, context_.tickets, command, kSmallCommandBytes, [self = shared_from_this()](Reply reply) {
    auto* task = std::get_if<TaskReply>(&reply.value);
    if (task == nullptr) return self->Finish(reply.status);
    const absl::Status status =
        self->context_.reads.Submit([self, snapshot = std::move(task->snapshot)] { self->Read(snapshot); });
    if (!status.ok()) self->Finish(status);
  });
}

void UpdateTaskCall::Read(const TaskSnapshot& snapshot) {
  std::unique_ptr<StoreReader> store = context_.door.Snapshot();
  if (store == nullptr) return Finish(StoppingError());
  TaskReader reader(std::move(store), context_.partition, context_.WallNow());
  v1::Task task;
  if (const absl::Status status = reader.Read(snapshot, {.payload = true}, &task); !status.ok()) return Finish(status);
  Change(std::move(task));
}

void UpdateTaskCall::Change(v1::Task task) {
  switch (task.state()) {
    case v1::TASK_STATE_SCHEDULED:
    case v1::TASK_STATE_AVAILABLE:
    case v1::TASK_STATE_RETRYABLE:
      break;
    case v1::TASK_STATE_RUNNING:
      return Finish(absl::FailedPreconditionError("the task is running, and cannot be changed any more"));
    default:
      return Finish(absl::FailedPreconditionError("the task is finished"));
  }
  if (request_.has_revision() && request_.revision() != task.revision()) {
    return Finish(absl::AbortedError(fmt::format("the task is at revision {}, not {}: it was changed meanwhile",
                                                 task.revision(), request_.revision())));
  }
  auto sized = ToCommand(request_, fields_, std::move(*task.mutable_spec()), context_.limits, context_.WallNow());
  if (!sized.ok()) return Finish(sized.status());
  sized->command.task = task_;
  sized->command.revision = task.revision();
  Ask(context_.door, context_.tickets, std::move(sized->command), sized->bytes,
      [self = shared_from_this()](Reply reply) {
        if (absl::IsAborted(reply.status) && !self->request_.has_revision() && --self->tries_left_ > 0) {
          return self->Look();
        }
        const auto* update = std::get_if<UpdateReply>(&reply.value);
        if (reply.status.ok() && update == nullptr) reply.status = absl::InternalError("the core gave another answer");
        if (reply.status.ok()) {
          self->response_.set_revision(update->revision);
          SetTimestamp(update->run_time, self->response_.mutable_run_time());
        }
        self->Finish(reply.status);
      });
}

void UpdateTaskCall::Finish(const absl::Status& status) { reactor_.Finish(ToGrpc(status)); }

}  // namespace penstock::broker
