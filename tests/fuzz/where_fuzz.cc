// For libFuzzer (-fsanitize=fuzzer), and for tests that call it themselves: any text before the first line end is
// refused with a reason and a place within it, or is a condition, which then looks at the rest as a payload. A
// condition and its negation never fit the same payload.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "broker/rpc/where.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using penstock::broker::Where;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = input.find('\n');
  const std::string_view text = input.substr(0, line);
  const std::string_view payload = line == std::string_view::npos ? "{}" : input.substr(line + 1);
  const auto where = Where::Parse(text);
  if (!where.ok()) {
    if (where.status().message().empty()) std::abort();
    return 0;
  }
  const bool fits = where->Fits(payload);
  const auto negated = Where::Parse("!(" + std::string(text) + ")");
  if (!negated.ok()) {
    // It has become too long or too deep.
    if (text.size() + 3 <= Where::kTextMax && !absl::StrContains(negated.status().message(), "more than")) std::abort();
    return 0;
  }
  if (fits && negated->Fits(payload)) std::abort();
  return 0;
}
