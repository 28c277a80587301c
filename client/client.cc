#include "client/client.h"

#include "client/callback_scope.h"
#include "common/status.h"

namespace penstock {

const char* ToString(TaskState state) {
  switch (state) {
    case TaskState::kUnknown:
      return "unknown";
    case TaskState::kScheduled:
      return "scheduled";
    case TaskState::kBlocked:
      return "blocked";
    case TaskState::kAvailable:
      return "available";
    case TaskState::kRunning:
      return "running";
    case TaskState::kRetryable:
      return "retryable";
    case TaskState::kCompleted:
      return "completed";
    case TaskState::kCancelled:
      return "cancelled";
    case TaskState::kDead:
      return "dead";
  }
  return "unknown";
}

namespace {

// Makes a call that takes a callback and returns what the callback gets.
template <class Result, class Start>
std::future<absl::StatusOr<Result>> FutureOf(Start start) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<Result>>>();
  std::future<absl::StatusOr<Result>> future = promise->get_future();
  start([promise](absl::StatusOr<Result> result) { promise->set_value(std::move(result)); });
  return future;
}

}  // namespace

std::future<absl::StatusOr<EnqueueResult>> Client::EnqueueFuture(NewTask task) {
  return FutureOf<EnqueueResult>([&](EnqueueCallback done) { EnqueueAsync(std::move(task), std::move(done)); });
}

std::future<absl::StatusOr<std::vector<EnqueueResult>>> Client::EnqueueManyFuture(std::vector<NewTask> tasks) {
  return FutureOf<std::vector<EnqueueResult>>(
      [&](EnqueueManyCallback done) { EnqueueManyAsync(std::move(tasks), std::move(done)); });
}

std::future<absl::StatusOr<TaskInfo>> Client::WaitFuture(TaskId id, absl::Duration timeout) {
  return FutureOf<TaskInfo>([&](WaitCallback done) { WaitAsync(id, timeout, std::move(done)); });
}

absl::StatusOr<EnqueueResult> Client::Enqueue(NewTask task) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  return EnqueueFuture(std::move(task)).get();
}

absl::StatusOr<std::vector<EnqueueResult>> Client::EnqueueMany(std::vector<NewTask> tasks) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  return EnqueueManyFuture(std::move(tasks)).get();
}

absl::StatusOr<TaskInfo> Client::WaitTask(TaskId id, absl::Duration timeout) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  return WaitFuture(id, timeout).get();
}

absl::StatusOr<TaskId> Client::Enqueue(const std::string& queue, const std::string& type, std::string payload,
                                       EnqueueOptions options) {
  absl::StatusOr<EnqueueResult> result = Enqueue(NewTask{queue, type, std::move(payload), std::move(options)});
  if (!result.ok()) return result.status();
  return result->id;
}

absl::StatusOr<TaskId> Client::Enqueue(const std::string& queue, const std::string& type,
                                       const google::protobuf::MessageLite& payload, EnqueueOptions options) {
  if (options.content_type.empty()) options.content_type = "application/x-protobuf";
  return Enqueue(queue, type, payload.SerializeAsString(), std::move(options));
}

absl::StatusOr<std::string> Client::ResultOf(absl::StatusOr<TaskInfo> task) {
  if (!task.ok()) return task.status();
  switch (task->state) {
    case TaskState::kCompleted:
      return std::move(task->result);
    case TaskState::kCancelled:
      return absl::CancelledError("the task was cancelled");
    case TaskState::kDead: {
      std::string message = "the task is dead: " + task->dead_reason;
      if (!task->attempts.empty() && !task->attempts.back().error_message.empty()) {
        message += "; last error: " + task->attempts.back().error_message;
      }
      return absl::AbortedError(message);
    }
    default:
      return absl::DeadlineExceededError(std::string("the task is still ") + ToString(task->state) +
                                         (task->waiting_reason.empty() ? "" : ": " + task->waiting_reason));
  }
}

}  // namespace penstock
