#ifndef PENSTOCK_CLIENT_TASK_CHANGE_H_
#define PENSTOCK_CLIENT_TASK_CHANGE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/task.h"

namespace penstock {

// How failed attempts are repeated. Fields, defaults and limits as in EnqueueOptions; what is left out is the queue's,
// as it is when the task is changed.
struct TaskRetryPolicy {
  int max_attempts = 0;
  std::optional<BackoffKind> backoff = {};
  absl::Duration initial_backoff = {};
  double backoff_multiplier = 0;
  absl::Duration max_backoff = {};
  std::optional<double> backoff_jitter = {};
};

// What to change of a task that waits; what is not set stays. Limits as in EnqueueOptions. Its type, FIFO key and
// unique key cannot be changed.
struct TaskChange {
  std::optional<std::string> queue = {};  // it moves there
  std::optional<std::string> payload = {};
  std::optional<std::string> content_type = {};
  std::optional<std::map<std::string, std::string>> headers = {};  // in place of all
  std::optional<std::vector<std::string>> tags = {};               // in place of all
  std::optional<int> priority = {};
  std::optional<absl::Time> run_at = {};             // past: now
  std::optional<absl::Duration> delay = {};          // from now; instead of run_at
  std::optional<absl::Time> expire_at = {};          // absl::InfiniteFuture(): never; ends its start_within
  std::optional<absl::Duration> start_within = {};   // 0: no such limit; ends its expire_at
  std::optional<absl::Duration> life_timeout = {};   // 0: none
  std::optional<absl::Duration> run_timeout = {};    // 0: the queue's
  std::optional<TaskRetryPolicy> retry_policy = {};  // in place of the whole policy
  std::optional<absl::Duration> result_retention = {};
  std::optional<std::string> group = {};  // empty: none
  std::optional<uint32_t> cost = {};
  std::optional<std::map<std::string, std::string>> worker_labels = {};  // in place of all; empty: any worker

  // Only if it is this revision (TaskInfo::revision); absent: whatever it is.
  std::optional<uint32_t> revision = {};
};

struct ChangedTask {
  uint32_t revision = 0;     // that it has now
  absl::Time run_time = {};  // when it is due
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_TASK_CHANGE_H_
