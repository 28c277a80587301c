#include "client/cli/retry_options.h"

#include <string>

#include "client/cli/arguments.h"
#include "client/cli/proto_time.h"
#include "client/task_spec.h"

namespace penstock::cli {

void AddRetryOptions(CLI::App& command, RetryOf what, RetryOptions* out) {
  const auto help = [&](const std::string& text, const std::string& otherwise) {
    return what == RetryOf::kNewTask ? text + " [the queue's, " + otherwise + "]" : text;
  };
  AddNumber(command, "--max-attempts", &out->max_attempts, 1, 1'000,
            help(what == RetryOf::kQueue ? "Runs in all of tasks that do not say their own" : "Runs in all", "20"));
  AddChoice<std::optional<BackoffKind>>(
      command, "--backoff", &out->backoff,
      {{"exponential", BackoffKind::kExponential}, {"linear", BackoffKind::kLinear}, {"fixed", BackoffKind::kFixed}},
      help("How the wait grows: times the multiplier, by the initial backoff, or not", "exponential"));
  AddDuration(command, "--initial-backoff", &out->initial_backoff, help("Wait after the first failure", "1s"));
  AddReal(command, "--multiplier", &out->multiplier, 1, 100, help("Growth of the wait from attempt to attempt", "2"));
  AddDuration(command, "--max-backoff", &out->max_backoff, help("Longest wait", "1h"));
  AddReal(command, "--jitter", &out->jitter, 0, 1, help("The part of the wait that is random", "1"));
}

TaskRetryPolicy ToPolicy(const RetryOptions& options) {
  TaskRetryPolicy policy;
  policy.max_attempts = options.max_attempts.value_or(0);
  policy.backoff = options.backoff;
  policy.initial_backoff = options.initial_backoff.value_or(absl::ZeroDuration());
  policy.backoff_multiplier = options.multiplier.value_or(0);
  policy.max_backoff = options.max_backoff.value_or(absl::ZeroDuration());
  policy.backoff_jitter = options.jitter;
  return policy;
}

void Apply(const RetryOptions& options, v1::RetryPolicy* policy) {
  if (options.max_attempts) policy->set_max_attempts(*options.max_attempts);
  if (options.backoff) {
    policy->set_backoff(ToProto(*options.backoff));
    if (*options.backoff != BackoffKind::kExponential) policy->clear_multiplier();  // that counted before
  }
  if (options.initial_backoff) Set(*options.initial_backoff, policy->mutable_initial_backoff());
  if (options.multiplier) policy->set_multiplier(*options.multiplier);
  if (options.max_backoff) Set(*options.max_backoff, policy->mutable_max_backoff());
  if (options.jitter) policy->set_jitter(*options.jitter);
}

}  // namespace penstock::cli
