#include "broker/core/retry_policy.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "common/random.h"

namespace penstock::broker {
namespace {

// How often the initial backoff; may be infinite.
double Growth(const RetryPolicy& policy, double attempt) {
  switch (policy.backoff) {
    case Backoff::kExponential:
      return std::pow(policy.multiplier, attempt - 1);
    case Backoff::kLinear:
      return attempt;
    case Backoff::kFixed:
      return 1;
  }
  std::abort();
}

}  // namespace

Span BackoffAfter(const RetryPolicy& policy, TaskId task, uint32_t attempt) {
  if (policy.initial_backoff <= 0) return 0;  // nothing times infinity is not a number
  const double grown = static_cast<double>(policy.initial_backoff) * Growth(policy, static_cast<double>(attempt));
  const double bound = std::min(grown, static_cast<double>(policy.max_backoff));
  const uint64_t bits = MixBits(task.value() ^ MixBits(attempt));
  const double draw = static_cast<double>(bits >> 11) * 0x1p-53;  // evenly from [0, 1)
  return static_cast<Span>(bound * (1 - policy.jitter * draw));
}

}  // namespace penstock::broker
