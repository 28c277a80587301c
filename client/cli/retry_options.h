#ifndef PENSTOCK_CLIENT_CLI_RETRY_OPTIONS_H_
#define PENSTOCK_CLIENT_CLI_RETRY_OPTIONS_H_

// The options of a retry policy, which tasks and queues have alike.

#include <optional>

#include "CLI/CLI.hpp"
#include "absl/time/time.h"
#include "client/task.h"
#include "client/task_change.h"
#include "penstock/v1/task.pb.h"

namespace penstock::cli {

struct RetryOptions {
  std::optional<int> max_attempts;
  std::optional<BackoffKind> backoff;
  std::optional<absl::Duration> initial_backoff;
  std::optional<double> multiplier;
  std::optional<absl::Duration> max_backoff;
  std::optional<double> jitter;

  bool Any() const { return max_attempts || backoff || initial_backoff || multiplier || max_backoff || jitter; }
};

// Help says what counts where an option is not given: for a new task the queue's, otherwise what there is.
enum class RetryOf { kNewTask, kTask, kQueue };
void AddRetryOptions(CLI::App& command, RetryOf what, RetryOptions* out);

// What was given and no more.
TaskRetryPolicy ToPolicy(const RetryOptions& options);
// Sets what was given, on top of what `policy` says: the API replaces a policy as a whole.
void Apply(const RetryOptions& options, v1::RetryPolicy* policy);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_RETRY_OPTIONS_H_
