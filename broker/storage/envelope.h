#ifndef PENSTOCK_BROKER_STORAGE_ENVELOPE_H_
#define PENSTOCK_BROKER_STORAGE_ENVELOPE_H_

// What every stored value is wrapped in:
//
//   value = version:1 crc32c:4 body
//
// The version is that of the envelope, 1. The checksum, big-endian, covers the key, the version byte and the body: so a
// value that is found under another key, which the checksums of a storage engine cannot notice, is recognised too.

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace penstock::broker {

inline constexpr size_t kEnvelopeBytes = 5;

// The value that stores `body` under `key`.
std::string SealValue(std::string_view key, std::string_view body);

// The same without a copy, for large bodies: `value` starts with kEnvelopeBytes bytes of any content, which are
// overwritten. REQUIRES: value->size() >= kEnvelopeBytes
void SealValueInPlace(std::string_view key, std::string* value);

// The body, a part of `value`. DataLoss names the key and what is wrong with the value; FailedPrecondition says that a
// newer Penstock wrote it.
absl::StatusOr<std::string_view> OpenValue(std::string_view key, std::string_view value);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_ENVELOPE_H_
