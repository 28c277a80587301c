#ifndef PENSTOCK_COMMON_UNITS_H_
#define PENSTOCK_COMMON_UNITS_H_

// Durations and sizes as people write and read them.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock {

// "250ms", "30s", "5m", "1h30m", "7d", "0". InvalidArgument says what would be valid.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);
// "4096", "64KiB", "1MiB", "2GiB", "1GB", with an optional space before the unit. InvalidArgument says what would be
// valid.
absl::StatusOr<uint64_t> ParseSize(std::string_view text);

// The two largest units: "1d 3h", "2m 5s", "350ms", "0s"; "for ever" for an infinite one.
std::string FormatDuration(absl::Duration duration);
// Three digits: "1.21 MiB", "64 KiB", "17 B".
std::string FormatSize(uint64_t bytes);
// With thousands separated: "1,234,567".
std::string FormatCount(uint64_t count);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_UNITS_H_
