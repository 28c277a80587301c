#include "common/coding.h"

namespace penstock {

void PutLongVarint(std::string* out, uint64_t value) {
  char buffer[10];
  int size = 0;
  while (value >= 0x80) {
    buffer[size++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  buffer[size++] = static_cast<char>(value);
  out->append(buffer, static_cast<size_t>(size));
}

uint64_t Decoder::BigEndian(int bytes) {
  if (input_.size() < static_cast<size_t>(bytes)) {
    Fail();
    return 0;
  }
  uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(input_[static_cast<size_t>(i)]);
  input_.remove_prefix(static_cast<size_t>(bytes));
  return value;
}

uint64_t Decoder::LongVarint() {
  uint64_t value = 0;
  for (size_t i = 0; i < input_.size() && i < 10; ++i) {
    const uint64_t byte = static_cast<unsigned char>(input_[i]);
    if (i == 9 && byte > 1) break;  // more than 64 bits
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      input_.remove_prefix(i + 1);
      return value;
    }
  }
  Fail();
  return 0;
}

std::string_view Decoder::Raw(uint64_t size) {
  if (size > input_.size()) {
    Fail();
    return {};
  }
  std::string_view bytes = input_.substr(0, size);
  input_.remove_prefix(size);
  return bytes;
}

}  // namespace penstock
