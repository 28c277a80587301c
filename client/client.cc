#include "client/client.h"

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

std::future<absl::StatusOr<EnqueueResult>> Client::EnqueueFuture(NewTask task) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<EnqueueResult>>>();
  std::future<absl::StatusOr<EnqueueResult>> future = promise->get_future();
  EnqueueAsync(std::move(task),
               [promise](absl::StatusOr<EnqueueResult> result) { promise->set_value(std::move(result)); });
  return future;
}

absl::StatusOr<EnqueueResult> Client::Enqueue(NewTask task) { return EnqueueFuture(std::move(task)).get(); }

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
