#ifndef PENSTOCK_BROKER_CORE_RETRY_POLICY_H_
#define PENSTOCK_BROKER_CORE_RETRY_POLICY_H_

#include "broker/core/command.h"
#include "broker/core/core_types.h"

namespace penstock::broker {

// How long to wait after attempt number `attempt` (from 1, since the last redrive) of `task` failed: drawn from
// [(1 - jitter) * b, b] with b = min(w, max), where w is initial * multiplier^(attempt - 1) with an exponential
// backoff, initial * attempt with a linear, and initial with a fixed one. Full jitter, jitter = 1, spreads a herd best
// (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). The draw depends on the task and attempt
// alone.
Span BackoffAfter(const RetryPolicy& policy, TaskId task, uint32_t attempt);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_RETRY_POLICY_H_
