#ifndef PENSTOCK_COMMON_NAME_HASH_H_
#define PENSTOCK_COMMON_NAME_HASH_H_

#include <cstdint>
#include <string_view>

namespace penstock {

// A number for a FIFO key or a group: stored, so it never changes. Never 0, which means "none". XXH3 with 64 bits:
// among a million names of one queue two share a number with a probability of 3 in 100 million; they then share a lane,
// which keeps every promise of order and makes one of them wait for the other.
uint64_t NameHash(std::string_view name);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_NAME_HASH_H_
