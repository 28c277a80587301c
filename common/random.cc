#include "common/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace penstock {

std::string RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  for (size_t have = 0; have < count;) {
    const ssize_t got = getrandom(bytes.data() + have, count - have, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      std::perror("getrandom");
      std::abort();
    }
    have += static_cast<size_t>(got);
  }
  return bytes;
}

std::string RandomHexId() {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : RandomBytes(16)) {
    text.push_back(kHex[byte >> 4]);
    text.push_back(kHex[byte & 15]);
  }
  return text;
}

double RandomFraction() {
  const std::string bytes = RandomBytes(sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data(), sizeof(bits));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

uint64_t MixBits(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

}  // namespace penstock
