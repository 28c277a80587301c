#include "common/units.h"

#include <charconv>
#include <cmath>

#include "common/text.h"
#include "fmt/format.h"

namespace penstock {

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  absl::Duration total;
  std::string_view rest = text;
  // absl::ParseDuration knows no days.
  if (const size_t days_end = rest.find('d'); days_end != std::string_view::npos) {
    int64_t days = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + days_end, days);
    if (error != std::errc() || end != rest.data() + days_end || days < 0 || days > 40'000)
      rest = "invalid";
    else {
      total = absl::Hours(24 * days);
      rest.remove_prefix(days_end + 1);
      if (rest.empty()) return total;
    }
  }
  absl::Duration small;
  if (!absl::ParseDuration(ToAbsl(rest), &small) || small == absl::InfiniteDuration() || small < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        fmt::format("'{}' is no duration; write for instance 250ms, 30s, 5m, 1h30m or 7d", text));
  }
  return total + small;
}

absl::StatusOr<uint64_t> ParseSize(std::string_view text) {
  struct Unit {
    std::string_view name;
    uint64_t factor;
  };
  static constexpr Unit kUnits[] = {{"", 1},
                                    {"B", 1},
                                    {"KiB", 1u << 10},
                                    {"MiB", 1u << 20},
                                    {"GiB", 1u << 30},
                                    {"TiB", 1ull << 40},
                                    {"kB", 1'000},
                                    {"KB", 1'000},
                                    {"MB", 1'000'000},
                                    {"GB", 1'000'000'000},
                                    {"TB", 1'000'000'000'000}};
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc()) {
    std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
    if (unit.starts_with(' ')) unit.remove_prefix(1);
    for (const Unit& candidate : kUnits) {
      if (candidate.name == unit && number <= UINT64_MAX / candidate.factor) return number * candidate.factor;
    }
  }
  return absl::InvalidArgumentError(fmt::format("'{}' is no size; write for instance 4096, 64KiB, 1MiB or 2GiB", text));
}

std::string FormatDuration(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) return "-" + penstock::FormatDuration(-duration);
  if (duration == absl::InfiniteDuration()) return "for ever";
  const int64_t micros = absl::ToInt64Microseconds(duration);
  if (micros == 0) return "0s";
  if (micros < 1'000) return fmt::format("{}us", micros);
  if (micros < 1'000'000)
    return micros < 10'000 ? fmt::format("{:.2g}ms", micros / 1e3) : fmt::format("{}ms", micros / 1'000);
  const int64_t seconds = micros / 1'000'000;
  if (seconds < 10 && micros % 1'000'000 >= 50'000)
    return fmt::format("{:.1f}s", static_cast<double>(micros - micros % 100'000) / 1e6);
  auto pair = [](int64_t big, const char* big_unit, int64_t small, const char* small_unit) {
    return small == 0 ? fmt::format("{}{}", big, big_unit) : fmt::format("{}{} {}{}", big, big_unit, small, small_unit);
  };
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3'600) return pair(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86'400) return pair(seconds / 3'600, "h", seconds % 3'600 / 60, "m");
  return pair(seconds / 86'400, "d", seconds % 86'400 / 3'600, "h");
}

std::string FormatSize(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1'000 && unit < 6) {
    value /= 1'024;
    ++unit;
  }
  if (unit == 0 || value == std::floor(value)) return fmt::format("{} {}", static_cast<uint64_t>(value), kUnits[unit]);
  return fmt::format("{:.3g} {}", value, kUnits[unit]);
}

std::string FormatCount(uint64_t count) {
  std::string text = std::to_string(count);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

}  // namespace penstock
