#include "common/config/value_text.h"

#include <algorithm>

#include "fmt/format.h"

namespace penstock {
namespace {

// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(now);
  }
  return last[b.size()];
}

}  // namespace

std::string ExactSize(uint64_t bytes) {
  struct Unit {
    const char* name;
    uint64_t factor;
  };
  static constexpr Unit kUnits[] = {{"TiB", 1ull << 40}, {"GiB", 1ull << 30},       {"MiB", 1ull << 20},
                                    {"KiB", 1ull << 10}, {"TB", 1'000'000'000'000}, {"GB", 1'000'000'000},
                                    {"MB", 1'000'000}};
  if (bytes > 0) {
    for (const Unit& unit : kUnits) {
      if (bytes % unit.factor == 0) return fmt::format("{} {}", bytes / unit.factor, unit.name);
    }
  }
  return fmt::format("{} B", bytes);
}

std::string ExactDuration(absl::Duration duration) {
  const absl::Duration day = absl::Hours(24);
  if (duration >= 2 * day && duration % day == absl::ZeroDuration()) return fmt::format("{}d", duration / day);
  if (duration == absl::ZeroDuration()) return "0s";
  std::string text;
  auto take = [&](absl::Duration unit, const char* name) {
    const int64_t count = absl::IDivDuration(duration, unit, &duration);
    if (count != 0) text += fmt::format("{}{}", count, name);
  };
  take(absl::Hours(1), "h");
  take(absl::Minutes(1), "m");
  take(absl::Seconds(1), "s");
  take(absl::Milliseconds(1), "ms");
  take(absl::Microseconds(1), "us");
  take(absl::Nanoseconds(1), "ns");
  return text;
}

std::string NearestOf(std::string_view word, const std::vector<std::string>& candidates) {
  std::string nearest;
  size_t least = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = Distance(word, candidate);
    // A short candidate is "near" to every short word.
    if (distance < least && distance < candidate.size()) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace penstock
