#ifndef PENSTOCK_COMMON_CRC32C_H_
#define PENSTOCK_COMMON_CRC32C_H_

#include <cstdint>
#include <string_view>

namespace penstock {

// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`, continuing from `crc`, the CRC of what stands before them.
// Uses the CPU's instruction where there is one.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CRC32C_H_
