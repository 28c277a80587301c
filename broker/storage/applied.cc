#include "broker/storage/applied.h"

#include <xxhash.h>

#include "broker/storage/envelope.h"
#include "common/coding.h"
#include "common/status.h"

namespace penstock::broker {

std::string AppliedKey(uint8_t partition) {
  std::string key(1, static_cast<char>(partition));
  return key.append("applied");
}

std::string EncodeApplied(std::string_view key, const Applied& applied) {
  std::string value(kEnvelopeBytes, '\0');
  PutVarint(&value, applied.sequence);
  PutVarint(&value, applied.epoch);
  PutSigned(&value, applied.time_micros);
  PutBig64(&value, applied.hash);
  value += applied.rest;
  SealValueInPlace(key, &value);
  return value;
}

absl::StatusOr<Applied> DecodeApplied(std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, value));
  Decoder decoder(body);
  Applied applied;
  applied.sequence = decoder.Varint();
  applied.epoch = decoder.Varint();
  applied.time_micros = decoder.Signed();
  applied.hash = decoder.Big64();
  if (!decoder.ok()) return absl::DataLossError("the record of the last commit is cut short");
  applied.rest = std::string(decoder.rest());
  return applied;
}

uint64_t ChainHash(uint64_t previous, uint64_t sequence, std::string_view operations) {
  std::string head;
  PutBig64(&head, previous);
  PutBig64(&head, sequence);
  return XXH3_64bits_withSeed(operations.data(), operations.size(), XXH3_64bits(head.data(), head.size()));
}

}  // namespace penstock::broker
