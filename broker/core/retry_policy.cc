#include "broker/core/retry_policy.h"

#include <algorithm>
#include <cmath>

#include "common/random.h"

namespace penstock::broker {

Span BackoffAfter(const RetryPolicy& policy, TaskId task, uint32_t attempt) {
  if (policy.initial_backoff <= 0) return 0;  // nothing times infinity is not a number
  const double grown = static_cast<double>(policy.initial_backoff) *
                       std::pow(policy.multiplier, static_cast<double>(attempt) - 1);  // may be infinite
  const double bound = std::min(grown, static_cast<double>(policy.max_backoff));
  const uint64_t bits = MixBits(task.value() ^ MixBits(attempt));
  const double draw = static_cast<double>(bits >> 11) * 0x1p-53;  // evenly from [0, 1)
  return static_cast<Span>(bound * (1 - policy.jitter * draw));
}

}  // namespace penstock::broker
