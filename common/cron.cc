#include "common/cron.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock {
namespace {

// February 29 falls on a given day of the week at most 40 years apart.
constexpr int kYearsLooked = 41;
constexpr int kLastYear = 9'999;
constexpr size_t kTextMax = 256;
constexpr size_t kZoneNameMax = 64;

struct Field {
  std::string_view name;
  uint32_t low = 0;
  uint32_t high = 0;
  std::string_view valid;
  std::array<std::string_view, 12> names = {};  // of the values from `low` on; empty: none
};
constexpr Field kSecond = {"second", 0, 59, "0-59"};
constexpr Field kMinute = {"minute", 0, 59, "0-59"};
constexpr Field kHour = {"hour", 0, 23, "0-23"};
constexpr Field kDay = {"day of month", 1, 31, "1-31 or L"};
constexpr Field kMonth = {"month",
                          1,
                          12,
                          "1-12 or JAN-DEC",
                          {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}};
constexpr Field kWeekday = {"day of week", 0, 7, "0-7 or SUN-SAT", {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}};

std::optional<uint32_t> ValueOf(const Field& field, std::string_view text) {
  for (uint32_t i = 0; i < field.names.size(); ++i) {
    if (!field.names[i].empty() && absl::EqualsIgnoreCase(ToAbsl(text), ToAbsl(field.names[i]))) return field.low + i;
  }
  uint32_t value = 0;
  // Digits alone: no sign, no space.
  if (text.empty() || text.size() > 4 ||
      !std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; }) ||
      !absl::SimpleAtoi(ToAbsl(text), &value)) {
    return std::nullopt;
  }
  if (value < field.low || value > field.high) return std::nullopt;
  return value;
}

absl::Status Wrong(const Field& field, std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(fmt::format("{} \"{}\" {}; valid are {}, a-b, *, each with /step, and lists a,b",
                                                field.name, text, why, field.valid));
}

// Adds the values of one item of a list.
absl::Status AddItem(const Field& field, std::string_view item, uint64_t* bits) {
  std::string_view range = item;
  uint32_t step = 1;
  const size_t slash = item.find('/');
  if (slash != std::string_view::npos) {
    range = item.substr(0, slash);
    const Field steps = {field.name, 1, field.high, "", {}};
    const std::optional<uint32_t> given = ValueOf(steps, item.substr(slash + 1));
    if (!given) return Wrong(field, item, fmt::format("has a step that is not 1 to {}", field.high));
    step = *given;
  }
  uint32_t low = field.low, high = field.high;
  if (range != "*") {
    const size_t dash = range.find('-');
    const std::optional<uint32_t> first = ValueOf(field, range.substr(0, dash));
    const std::optional<uint32_t> last =
        dash == std::string_view::npos ? first : ValueOf(field, range.substr(dash + 1));
    if (!first || !last) return Wrong(field, item, "is not valid");
    if (*first > *last) {
      return Wrong(field, item, fmt::format("runs backwards; write {}-{},{}-{}", *first, field.high, field.low, *last));
    }
    low = *first;
    if (dash != std::string_view::npos || slash == std::string_view::npos) high = *last;
  }
  for (uint32_t value = low; value <= high; value += step) *bits |= uint64_t{1} << value;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ParseField(const Field& field, std::string_view text, bool* last_day = nullptr) {
  uint64_t bits = 0;
  for (absl::string_view part : absl::StrSplit(ToAbsl(text), ',')) {
    const std::string_view item = ToStd(part);
    if (last_day != nullptr && (item == "L" || item == "l")) {
      *last_day = true;
    } else {
      RETURN_IF_ERROR(AddItem(field, item, &bits));
    }
  }
  return bits;
}

constexpr std::pair<std::string_view, std::string_view> kShortNames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}};

bool Has(uint64_t bits, int value) { return (bits >> value & 1) != 0; }

// The first value that is meant from `from` on, or -1.
int NextBit(uint64_t bits, int from) {
  if (from > 63) return -1;
  const uint64_t rest = bits >> from;
  return rest == 0 ? -1 : from + std::countr_zero(rest);
}

}  // namespace

absl::StatusOr<Cron> Cron::Parse(std::string_view text) {
  if (text.size() > kTextMax) {
    return absl::InvalidArgumentError(fmt::format("is longer than {} characters", kTextMax));
  }
  std::vector<std::string> fields = absl::StrSplit(ToAbsl(text), absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (fields.size() == 1 && fields[0].starts_with("@")) {
    const auto* found = std::find_if(std::begin(kShortNames), std::end(kShortNames), [&](const auto& pair) {
      return absl::EqualsIgnoreCase(fields[0], ToAbsl(pair.first));
    });
    if (found == std::end(kShortNames)) {
      return absl::InvalidArgumentError(
          fmt::format("\"{}\" is not known; valid are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and "
                      "@annually",
                      fields[0]));
    }
    fields = absl::StrSplit(ToAbsl(found->second), ' ');
  }
  if (fields.size() == 5) fields.insert(fields.begin(), "0");
  if (fields.size() != 6) {
    return absl::InvalidArgumentError(
        fmt::format("has {} fields; valid are five, \"minute hour day-of-month month day-of-week\", or six, with the "
                    "second before them",
                    fields.size()));
  }
  Cron cron;
  ASSIGN_OR_RETURN(cron.seconds_, ParseField(kSecond, fields[0]));
  ASSIGN_OR_RETURN(cron.minutes_, ParseField(kMinute, fields[1]));
  ASSIGN_OR_RETURN(cron.hours_, ParseField(kHour, fields[2]));
  ASSIGN_OR_RETURN(cron.days_, ParseField(kDay, fields[3], &cron.last_day_));
  ASSIGN_OR_RETURN(cron.months_, ParseField(kMonth, fields[4]));
  ASSIGN_OR_RETURN(cron.weekdays_, ParseField(kWeekday, fields[5]));
  if (Has(cron.weekdays_, 7)) cron.weekdays_ |= 1;
  cron.any_day_ = fields[3].starts_with('*');
  cron.any_weekday_ = fields[5].starts_with('*');
  if (!cron.NextCivil(absl::CivilSecond(2000, 1, 1))) {
    return absl::InvalidArgumentError(
        fmt::format("\"{}\" never fires: no such month has such a day; for the last day of a month write L", text));
  }
  return cron;
}

bool Cron::MeansDay(absl::CivilDay day) const {
  const bool by_day = Has(days_, day.day()) || (last_day_ && absl::CivilMonth(day + 1) != absl::CivilMonth(day));
  // absl counts from Monday.
  const bool by_weekday = Has(weekdays_, (static_cast<int>(absl::GetWeekday(day)) + 1) % 7);
  return any_day_ || any_weekday_ ? by_day && by_weekday : by_day || by_weekday;
}

std::optional<absl::CivilSecond> Cron::NextCivil(absl::CivilSecond after) const {
  const absl::CivilSecond from = after + 1;
  const absl::civil_year_t year_end = std::min<absl::civil_year_t>(from.year() + kYearsLooked, kLastYear + 1);
  absl::CivilDay day(from);
  int hour = from.hour(), minute = from.minute(), second = from.second();
  while (day.year() < year_end) {
    if (!Has(months_, day.month())) {
      day = absl::CivilDay(absl::CivilMonth(day) + 1);
      hour = minute = second = 0;
      continue;
    }
    if (MeansDay(day)) {
      // The first time of day from hour:minute:second on.
      const int first_second = NextBit(seconds_, 0), first_minute = NextBit(minutes_, 0);
      int next_second = NextBit(seconds_, second);
      if (next_second < 0) {
        next_second = first_second;
        ++minute;
      }
      int next_minute = NextBit(minutes_, minute);
      if (next_minute != minute) next_second = first_second;
      if (next_minute < 0) {
        next_minute = first_minute;
        ++hour;
      }
      const int next_hour = NextBit(hours_, hour);
      if (next_hour >= 0) {
        if (next_hour != hour) {
          next_minute = first_minute;
          next_second = first_second;
        }
        return absl::CivilSecond(day.year(), day.month(), day.day(), next_hour, next_minute, next_second);
      }
    }
    ++day;
    hour = minute = second = 0;
  }
  return std::nullopt;
}

std::optional<absl::Time> Cron::Next(absl::Time after, const absl::TimeZone& zone) const {
  constexpr uint64_t kEveryHour = (uint64_t{1} << 24) - 1;
  // Whole seconds: what is between two of them is before the second.
  const absl::Time second = absl::FromUnixSeconds(absl::ToUnixSeconds(after));
  return hours_ == kEveryHour ? NextOfRhythm(second, zone) : NextOfDay(second, zone);
}

std::optional<absl::Time> Cron::NextOfDay(absl::Time after, const absl::TimeZone& zone) const {
  std::optional<absl::CivilSecond> local = absl::ToCivilSecond(after, zone);
  while (true) {
    local = NextCivil(*local);
    if (!local) return std::nullopt;
    const absl::TimeZone::TimeInfo info = zone.At(*local);
    const absl::Time time = info.kind == absl::TimeZone::TimeInfo::SKIPPED ? info.trans : info.pre;
    // Otherwise it is a local time that came before already, or that was made up for at the end of a gap.
    if (time > after) return time;
  }
}

// Between two changes of the clock local time goes on like time itself.
std::optional<absl::Time> Cron::NextOfRhythm(absl::Time after, const absl::TimeZone& zone) const {
  while (true) {
    const absl::CivilSecond local = absl::ToCivilSecond(after, zone);
    const std::optional<absl::CivilSecond> next = NextCivil(local);
    if (!next) return std::nullopt;
    const absl::Time time = after + absl::Seconds(*next - local);
    // The first moment with another offset from UTC.
    absl::TimeZone::CivilTransition change;
    if (!zone.NextTransition(after, &change)) return time;
    const absl::TimeZone::TimeInfo info = zone.At(change.to);
    const absl::Time changed = info.kind == absl::TimeZone::TimeInfo::REPEATED ? info.trans : info.pre;
    if (time < changed) return time;
    // From the change on by its new local time; the change itself may be meant.
    const std::optional<absl::CivilSecond> then = NextCivil(change.to - 1);
    if (!then) return std::nullopt;
    if (*then == change.to) return changed;
    after = changed;
  }
}

absl::StatusOr<absl::TimeZone> FindTimeZone(std::string_view name) {
  const bool plain = !name.empty() && name.size() <= kZoneNameMax && name.front() != '/' && name != "localtime" &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '/' || c == '_' || c == '-' || c == '+';
                     });
  absl::TimeZone zone;
  if (!plain || !absl::LoadTimeZone(ToAbsl(name), &zone)) {
    return absl::InvalidArgumentError(fmt::format(
        "there is no time zone \"{}\"; valid are UTC and the names of the tz database, for instance Europe/Berlin "
        "(its package is tzdata)",
        name.substr(0, kZoneNameMax)));
  }
  return zone;
}

}  // namespace penstock
