#include "common/utf8.h"

#include <algorithm>
#include <string_view>

namespace penstock {
namespace {

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// How many bytes the character at the front of `text` has; 0: none of UTF-8 (RFC 3629).
size_t CharacterSize(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xC2 && first <= 0xDF   ? 2
                      : (first & 0xF0) == 0xE0         ? 3
                      : first >= 0xF0 && first <= 0xF4 ? 4
                                                       : 0;
  if (size == 0 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  if (first == 0xE0 && at(1) < 0xA0) return 0;  // longer than need be
  if (first == 0xED && at(1) > 0x9F) return 0;  // half of a UTF-16 pair
  if (first == 0xF0 && at(1) < 0x90) return 0;
  if (first == 0xF4 && at(1) > 0x8F) return 0;  // past U+10FFFF
  return size;
}

}  // namespace

void CleanUtf8(std::string* text) {
  for (size_t i = 0; i < text->size();) {
    const size_t size = CharacterSize(std::string_view(*text).substr(i));
    if (size == 0) (*text)[i] = '?';
    i += std::max<size_t>(size, 1);
  }
}

}  // namespace penstock
