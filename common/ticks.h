#ifndef PENSTOCK_COMMON_TICKS_H_
#define PENSTOCK_COMMON_TICKS_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cron.h"

namespace penstock {

// When a schedule is due, in words.
struct TickSpec {
  std::string cron;                         // empty: every `interval`
  std::string time_zone;                    // of `cron`; empty: UTC
  absl::Duration interval;                  // with an empty `cron`
  absl::Time anchor;                        // with `interval`: one of its ticks, the others are counted from it
  absl::Time start = absl::InfinitePast();  // no tick before it
  absl::Time end = absl::InfiniteFuture();  // no tick after it

  friend bool operator==(const TickSpec&, const TickSpec&) = default;
};

// The ticks of a schedule: pure arithmetic, the same answers with the same zone data. Immutable; any thread.
class Ticks {
 public:
  // InvalidArgument as Cron::Parse and FindTimeZone say; the caller checks the times. REQUIRES: an interval is
  // positive.
  static absl::StatusOr<Ticks> Make(TickSpec spec);

  const TickSpec& spec() const { return spec_; }

  // The first tick after `after`; nullopt: there is none.
  std::optional<absl::Time> Next(absl::Time after) const;
  // The last tick up to `until`. REQUIRES: `tick` is one, at or before `until`.
  absl::Time Last(absl::Time tick, absl::Time until) const;

 private:
  Ticks(TickSpec spec, std::optional<Cron> cron, absl::TimeZone zone)
      : spec_(std::move(spec)), cron_(cron), zone_(zone) {}

  TickSpec spec_;
  std::optional<Cron> cron_;
  absl::TimeZone zone_;
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TICKS_H_
