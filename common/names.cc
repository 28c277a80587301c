#include "common/names.h"

#include <array>

#include "fmt/format.h"

namespace penstock {
namespace {

constexpr std::array<bool, 256> kNameCharacters = [] {
  std::array<bool, 256> table{};
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<size_t>(c)] = true;
  for (int c = '0'; c <= '9'; ++c) table[static_cast<size_t>(c)] = true;
  for (char c : {'.', '_', ':', '-', '/'}) table[static_cast<size_t>(c)] = true;
  return table;
}();

}  // namespace

std::string ProblemOfName(std::string_view name, size_t size_max) {
  if (name.empty()) return "is required";
  if (name.size() > size_max) return fmt::format("must be at most {} characters, is {}", size_max, name.size());
  for (char c : name) {
    if (!kNameCharacters[static_cast<unsigned char>(c)]) {
      return fmt::format("may hold A-Z a-z 0-9 . _ : - / only, is '{}'", name);
    }
  }
  return "";
}

}  // namespace penstock
