#ifndef PENSTOCK_COMMON_CONFIG_VALUE_TEXT_H_
#define PENSTOCK_COMMON_CONFIG_VALUE_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace penstock {

// Values in the form that ParseSize and ParseDuration (common/units.h) read back without loss; FormatSize and
// FormatDuration, which are for people, round. "1 MiB", "1 GB", "1500 B"; "30s", "1h30m", "24h", "30d".
std::string ExactSize(uint64_t bytes);
std::string ExactDuration(absl::Duration duration);

// The candidate that `word` is most likely a slip for, or empty if none is near.
std::string NearestOf(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CONFIG_VALUE_TEXT_H_
