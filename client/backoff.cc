#include "client/backoff.h"

#include <algorithm>
#include <cstdint>

#include "common/random.h"
#include "common/status_details.h"

namespace penstock {

absl::Duration Backoff(const ClientOptions& options, int failures) {
  const int doublings = std::clamp(failures - 1, 0, 20);
  const absl::Duration bound =
      std::min(options.reconnect_max, options.reconnect_min * static_cast<double>(uint64_t{1} << doublings));
  return bound * RandomFraction();
}

absl::Duration RetryPause(const ClientOptions& options, int failures, const absl::Status& failure) {
  const absl::Duration asked = std::max(RetryAfterOf(failure).value_or(absl::ZeroDuration()), absl::ZeroDuration());
  return asked + Backoff(options, failures);
}

bool IsRefusedForNow(const absl::Status& status) {
  return absl::IsResourceExhausted(status) && RetryAfterOf(status).has_value();
}

}  // namespace penstock
