#include "worker/report_text.h"

#include <string_view>

#include "common/utf8.h"

namespace penstock {
namespace {

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

size_t FrontEnd(const std::string& text, size_t size_max) {
  size_t end = size_max;
  while (end > 0 && size_max - end < 3 && IsContinuation(text[end])) --end;
  return end;
}

}  // namespace

void CleanText(size_t size_max, std::string* text) {
  if (text->size() > size_max) text->resize(FrontEnd(*text, size_max));
  CleanUtf8(text);
}

void CleanErrorText(size_t size_max, std::string* text) {
  constexpr std::string_view kGap = "\n[...]\n";
  if (text->size() > size_max) {
    const size_t keep = (size_max - kGap.size()) / 2;
    size_t tail = text->size() - keep;
    while (tail < text->size() && IsContinuation((*text)[tail])) ++tail;
    const size_t front = FrontEnd(*text, keep);
    text->replace(front, tail - front, kGap.data(), kGap.size());
  }
  CleanUtf8(text);
}

}  // namespace penstock
