#ifndef PENSTOCK_BROKER_STORAGE_APPLIED_H_
#define PENSTOCK_BROKER_STORAGE_APPLIED_H_

// The record that every commit sets, in family kMeta: which commit of a partition its data is at.
//
//   key  = partition:1 "applied"
//   body = varint(sequence) varint(epoch) signed(time) hash:8 rest     (the rest is a later version's, and is kept)

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace penstock::broker {

struct Applied {
  uint64_t sequence = 0;    // of the commit; grows by one from commit to commit
  uint64_t epoch = 0;       // of the partition's leader that made it; grows at each start
  int64_t time_micros = 0;  // the partition's time (Unix, microseconds) in that commit
  uint64_t hash = 0;        // ChainHash over all commits up to this one
  std::string rest = {};    // what a later version wrote behind these

  friend bool operator==(const Applied&, const Applied&) = default;
};

std::string AppliedKey(uint8_t partition);

// The value to store under `key`, envelope included.
std::string EncodeApplied(std::string_view key, const Applied& applied);
// DataLoss or FailedPrecondition as OpenValue; DataLoss if the body cannot be read.
absl::StatusOr<Applied> DecodeApplied(std::string_view key, std::string_view value);

// The hash after commit `sequence` with these encoded operations (CommitBatch::operations), `previous` being the hash
// before it: equal hashes mean equal histories, which replicas and replays compare. XXH3, not cryptographic.
uint64_t ChainHash(uint64_t previous, uint64_t sequence, std::string_view operations);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_APPLIED_H_
