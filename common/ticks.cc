#include "common/ticks.h"

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace penstock {

absl::StatusOr<Ticks> Ticks::Make(TickSpec spec) {
  std::optional<Cron> cron;
  absl::TimeZone zone = absl::UTCTimeZone();
  if (!spec.cron.empty()) {
    ASSIGN_OR_RETURN(cron, Cron::Parse(spec.cron));
    if (!spec.time_zone.empty()) {
      ASSIGN_OR_RETURN(zone, FindTimeZone(spec.time_zone));
    }
  }
  return Ticks(std::move(spec), cron, zone);
}

std::optional<absl::Time> Ticks::Next(absl::Time after) const {
  // A tick may be at the start itself.
  after = std::max(after, spec_.start - absl::Microseconds(1));
  std::optional<absl::Time> next;
  if (cron_) {
    next = cron_->Next(after, zone_);
  } else {
    absl::Duration rest;
    int64_t passed = absl::IDivDuration(after - spec_.anchor, spec_.interval, &rest);
    // Division goes towards zero: before the anchor that is the next tick, except just on one.
    if (rest >= absl::ZeroDuration()) ++passed;
    next = spec_.anchor + passed * spec_.interval;
  }
  if (next && *next > spec_.end) return std::nullopt;
  return next;
}

absl::Time Ticks::Last(absl::Time tick, absl::Time until) const {
  // There is a tick in (tick, until] or not: halving finds where that ends.
  absl::Time none = until;
  while (true) {
    const std::optional<absl::Time> next = Next(tick);
    if (!next || *next > until) return tick;
    tick = *next;
    while (none - tick > absl::Seconds(1)) {
      const absl::Time middle = tick + (none - tick) / 2;
      const std::optional<absl::Time> after = Next(middle);
      if (after && *after <= until) {
        tick = *after;
      } else {
        none = middle;
      }
    }
  }
}

}  // namespace penstock
