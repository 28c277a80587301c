#ifndef PENSTOCK_TESTS_SCENARIO_SCRIPT_TEXT_H_
#define PENSTOCK_TESTS_SCENARIO_SCRIPT_TEXT_H_

#include <string>

#include "broker/core/core_types.h"
#include "fmt/format.h"

namespace penstock::broker {

// Three decimals are enough to see what a time is, and stable.
inline std::string Seconds(Span span) {
  std::string text = fmt::format("{:.3f}", static_cast<double>(span) / kSecond);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text + "s";
}

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SCENARIO_SCRIPT_TEXT_H_
