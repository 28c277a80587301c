#ifndef PENSTOCK_CLIENT_TASK_H_
#define PENSTOCK_CLIENT_TASK_H_

// What a service says of a task, and is told of it. Fields, defaults and limits: proto/penstock/v1/task.proto.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/task_id.h"

namespace penstock {

// What becomes of a task whose unique key another one has.
enum class UniqueConflict {
  kKeep,      // it is not enqueued
  kReplace,   // the one that is there, if no worker has had it, becomes what this one is
  kDebounce,  // the same, and runs when this one was to run
};

// How the wait after a failed attempt grows: initial_backoff times multiplier^(n-1), times n, or not at all.
enum class BackoffKind { kExponential, kLinear, kFixed };

// Everything about a task but its queue, type and payload. What is not set is the queue's or the broker's default.
struct EnqueueOptions {
  std::string unique_key = {};        // refuses equals while they exist
  absl::Duration unique_window = {};  // 0: until the task is finished
  bool unique_while_waiting = false;  // until a worker gets it
  UniqueConflict unique_conflict = UniqueConflict::kKeep;
  std::string key = {};                                 // tasks of a key run one at a time and in order
  std::string group = {};                               // groups share the queue's worker time
  uint32_t cost = 1;                                    // what it counts for in throttles; at most 1,000
  int max_attempts = 0;                                 // runs in all; 0: the queue's (20)
  std::optional<int> priority = {};                     // 0 to 9, 9 most urgent; default 5
  absl::Duration delay = {};                            // not before this long from now
  std::optional<absl::Time> run_at = {};                // not before; instead of delay
  std::optional<absl::Time> expire_at = {};             // dead if not started by then
  absl::Duration start_within = {};                     // as expire_at, from when it is first due; 0: none
  absl::Duration life_timeout = {};                     // all attempts and waits together, from then; 0: none
  absl::Duration run_timeout = {};                      // longest run of one attempt; 0: the queue's (30 min)
  absl::Duration initial_backoff = {};                  // wait after the first failure; 0: the queue's (1 s)
  double backoff_multiplier = 0;                        // 0: the queue's (2)
  absl::Duration max_backoff = {};                      // 0: the queue's (1 h)
  std::optional<double> backoff_jitter = {};            // 0 to 1; default the queue's (1)
  std::optional<BackoffKind> backoff = {};              // default the queue's (exponential)
  std::optional<absl::Duration> result_retention = {};  // default the queue's (24 h)
  std::map<std::string, std::string> headers = {};
  std::vector<std::string> tags = {};
  std::map<std::string, std::string> worker_labels = {};  // what its worker must have
  std::string content_type = {};  // default application/octet-stream, for messages application/x-protobuf

  absl::Duration timeout = {};  // of this call; 0: the client's
};

struct NewTask {
  std::string queue = {};
  std::string type = {};
  std::string payload = {};
  EnqueueOptions options = {};
};

struct EnqueueResult {
  TaskId id = {};
  bool duplicate = false;  // nothing was enqueued: `id` holds the same unique key
  bool replaced = false;   // and has become what this task was to be
};

enum class TaskState {
  kUnknown,
  kScheduled,
  kBlocked,
  kAvailable,
  kRunning,
  kRetryable,
  kCompleted,
  kCancelled,
  kDead
};
const char* ToString(TaskState state);

struct TaskAttempt {
  int number = 0;
  std::string worker = {};
  absl::Time start_time = {};
  std::optional<absl::Time> end_time = {};
  std::string outcome = {};  // completed, failed, snoozed, released, lost, cancelled; empty while it runs
  std::string error_type = {};
  std::string error_message = {};
  std::string error_detail = {};
};

// A task's whole story.
struct TaskInfo {
  TaskId id = {};
  TaskState state = TaskState::kUnknown;
  std::string queue = {};
  std::string type = {};
  std::string payload = {};     // if it was asked for and is still kept
  std::string checkpoint = {};  // likewise: what its handler saved last for the next attempt
  uint32_t revision = 0;        // grows with every change of the task; for UpdateTask
  int attempt = 0;              // begun so far
  std::vector<TaskAttempt> attempts = {};
  double progress_percent = 0;
  std::string progress_text = {};
  std::optional<absl::Duration> remaining = {};  // of the run, if it goes on as it went
  std::string worker = {};                       // while it runs
  std::string result = {};                       // when completed
  std::string result_content_type = {};
  std::string dead_reason = {};     // attempts used up, rejected, expired, dropped, timed out
  std::string waiting_reason = {};  // why nobody runs it, if there is an outward reason

  bool finished() const {
    return state == TaskState::kCompleted || state == TaskState::kCancelled || state == TaskState::kDead;
  }
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_TASK_H_
