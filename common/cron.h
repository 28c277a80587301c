#ifndef PENSTOCK_COMMON_CRON_H_
#define PENSTOCK_COMMON_CRON_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace penstock {

// A cron expression: which seconds of local time it means. Immutable; any thread.
//
//   [second] minute hour day-of-month month day-of-week       five fields, or six with seconds; spaces or tabs between
//   @hourly @daily @midnight @weekly @monthly @yearly @annually
//
//   field = item ("," item)*       item = ("*" | value | value "-" value) ["/" step]
//   second 0-59, minute 0-59, hour 0-23, day of month 1-31 or L (the last), month 1-12 or JAN-DEC,
//   day of week 0-7 or SUN-SAT (0 and 7 are Sunday)
//
// As in Vixie's cron: `value/step` goes on to the end of the field's range; when neither day field begins with `*`, a
// day that fits one of them is meant, otherwise one that fits both.
//
// Clocks that change:
// - With hours named ("30 2 * * *", "0 */6 * * *") it means times of day. One that the clock skips fires at the first
//   moment after the gap; one that comes twice fires once, the first time.
// - With any hour ("*/10 * * * *") it means a rhythm. That goes on in the hour that comes twice, and has nothing to do
//   in an hour that does not come.
// Several times that fall together fire once.
class Cron {
 public:
  // InvalidArgument says what is wrong and what would be valid; also of an expression that never fires.
  static absl::StatusOr<Cron> Parse(std::string_view text);

  // The first firing after `after`, a whole second. nullopt: none before the year 10000.
  std::optional<absl::Time> Next(absl::Time after, const absl::TimeZone& zone) const;

 private:
  Cron() = default;

  // The first second that is meant after `after`, by the calendar alone.
  std::optional<absl::CivilSecond> NextCivil(absl::CivilSecond after) const;
  bool MeansDay(absl::CivilDay day) const;
  std::optional<absl::Time> NextOfDay(absl::Time after, const absl::TimeZone& zone) const;
  std::optional<absl::Time> NextOfRhythm(absl::Time after, const absl::TimeZone& zone) const;

  // Bit n: the value n is meant.
  uint64_t seconds_ = 0;
  uint64_t minutes_ = 0;
  uint64_t hours_ = 0;
  uint64_t days_ = 0;
  bool last_day_ = false;
  uint64_t months_ = 0;
  uint64_t weekdays_ = 0;  // 0: Sunday
  bool any_day_ = false;   // the field begins with *
  bool any_weekday_ = false;
};

// The zone of that name in the tz database, as the system has it, or UTC. InvalidArgument: there is none; only plain
// names, so that none leads to another file.
absl::StatusOr<absl::TimeZone> FindTimeZone(std::string_view name);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CRON_H_
