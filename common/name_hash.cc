#include "common/name_hash.h"

#define XXH_INLINE_ALL
#include "xxhash.h"

namespace penstock {

uint64_t NameHash(std::string_view name) {
  const uint64_t hash = XXH3_64bits(name.data(), name.size());
  return hash == 0 ? 1 : hash;
}

}  // namespace penstock
