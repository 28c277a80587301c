#ifndef PENSTOCK_TESTS_FUZZ_FUZZ_INPUT_H_
#define PENSTOCK_TESTS_FUZZ_FUZZ_INPUT_H_

// What the targets share. Each <name>_fuzz.cc defines LLVMFuzzerTestOneInput: a program of its own with libFuzzer
// (preset fuzz), a part of fuzz_test elsewhere. What must hold is checked with FUZZ_CHECK, which ends the process.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#define FUZZ_CHECK(condition) ::penstock::fuzz::Check(condition, #condition, __FILE__, __LINE__)

namespace penstock::fuzz {

inline void Check(bool holds, const char* condition, const char* file, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
  std::abort();
}

inline std::string_view TextOf(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// Reads every byte, so that a view of what is gone is noticed.
inline void Touch(std::string_view bytes) {
  [[maybe_unused]] static volatile unsigned char sum = 0;
  unsigned char all = 0;
  for (char byte : bytes) all = static_cast<unsigned char>(all + static_cast<unsigned char>(byte));
  sum = all;
}

}  // namespace penstock::fuzz

#endif  // PENSTOCK_TESTS_FUZZ_FUZZ_INPUT_H_
