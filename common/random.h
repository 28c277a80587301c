#ifndef PENSTOCK_COMMON_RANDOM_H_
#define PENSTOCK_COMMON_RANDOM_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace penstock {

// Unguessable bytes, from getrandom(2). Ends the process if the kernel gives none.
std::string RandomBytes(size_t count);
// 32 hexadecimal digits of 16 random bytes.
std::string RandomHexId();
// A draw from [0, 1), for jitter: no two processes, nor two calls of one, draw alike.
double RandomFraction();
// A well-mixed function of `value` (the finalizer of SplitMix64), for draws that must repeat.
uint64_t MixBits(uint64_t value);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_RANDOM_H_
