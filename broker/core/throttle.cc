#include "broker/core/throttle.h"

#include "common/status_details.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr Span kFillMax = 365 * 24 * kHour;

}  // namespace

absl::Status Validate(const ThrottleDefinition& definition) {
  if (definition.max_running == 0 && definition.rate.tasks == 0) {
    return InvalidField("throttle", "limits nothing; give it max_running, or a rate, or both");
  }
  if (definition.per == ThrottlePer::kKey && definition.max_running != 0) {
    return InvalidField("throttle.max_running",
                        "says nothing per key: of a FIFO key one task runs at a time anyway; give a rate, or count per "
                        "group");
  }
  const Bucket bucket = MakeBucket(definition.rate);
  if (bucket.interval > 0 && bucket.interval / 1'000 > kFillMax / bucket.burst) {
    return InvalidField("throttle.rate.burst",
                        fmt::format("would take more than 365 days to fill: {} units, one every {}", bucket.burst,
                                    penstock::FormatDuration(ToDuration(bucket.interval / 1'000))));
  }
  return absl::OkStatus();
}

}  // namespace penstock::broker
