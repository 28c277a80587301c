#include "common/task_id.h"

#include <array>

namespace penstock {
namespace {

constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr int kLength = 13;

constexpr std::array<int8_t, 256> kValues = [] {
  std::array<int8_t, 256> values{};
  for (auto& value : values) value = -1;
  for (size_t i = 0; i < kDigits.size(); ++i) values[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
  return values;
}();

}  // namespace

std::string TaskId::ToString() const {
  std::string text(kLength, '0');
  uint64_t rest = value_;
  for (int i = kLength - 1; i >= 0; --i, rest >>= 5) text[i] = kDigits[rest & 31];
  return text;
}

std::optional<TaskId> TaskId::Parse(std::string_view text) {
  if (text.size() != kLength) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    const int digit = kValues[static_cast<unsigned char>(c)];
    if (digit < 0 || value >> 59 != 0) return std::nullopt;
    value = value << 5 | static_cast<uint64_t>(digit);
  }
  return TaskId(value);
}

}  // namespace penstock
