#ifndef PENSTOCK_COMMON_TEXT_H_
#define PENSTOCK_COMMON_TEXT_H_

// Debian's absl::string_view is not std::string_view; these are the only two conversions.

#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace penstock {

inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }
inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace penstock

#endif  // PENSTOCK_COMMON_TEXT_H_
