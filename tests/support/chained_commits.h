#ifndef PENSTOCK_TESTS_SUPPORT_CHAINED_COMMITS_H_
#define PENSTOCK_TESTS_SUPPORT_CHAINED_COMMITS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "broker/storage/applied.h"
#include "broker/storage/envelope.h"
#include "broker/storage/store.h"
#include "gtest/gtest.h"

namespace penstock::broker {

// Commits as the core makes them: numbered, and chained by their hashes. For tests of what reads them back.
class ChainedCommits {
 public:
  explicit ChainedCommits(uint64_t epoch = 1) { applied_.epoch = epoch; }

  const Applied& applied() const { return applied_; }
  // Goes on from a state that was read, in another epoch.
  void GoOn(const Applied& from, uint64_t epoch) {
    applied_ = from;
    applied_.epoch = epoch;
  }

  // Puts `value` under `key` into `family`, in an envelope, as a commit of its own.
  void Put(Store& store, Family family, std::string_view key, std::string_view value, bool sync = true) {
    CommitBatch batch;
    batch.Put(family, key, SealValue(key, value));
    Commit(store, std::move(batch), sync);
  }
  void Commit(Store& store, CommitBatch batch, bool sync = true) {
    ++applied_.sequence;
    applied_.time_micros = static_cast<int64_t>(applied_.sequence) * 1'000'000;
    applied_.hash = ChainHash(applied_.hash, applied_.sequence, batch.operations());
    const std::string key = AppliedKey(0);
    batch.Put(Family::kMeta, key, EncodeApplied(key, applied_));
    ASSERT_TRUE(store.Commit(batch, sync).ok());
  }

  static Applied Read(const StoreReader& store) {
    const std::string key = AppliedKey(0);
    const auto value = store.Get(Family::kMeta, key);
    if (!value.ok()) return Applied();
    return DecodeApplied(key, *value).value();
  }

 private:
  Applied applied_;
};

// "\0" and the number as 8 bytes: a key of blocks or deltas.
inline std::string NumberKey(uint64_t number) {
  std::string key(1, '\0');
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift));
  return key;
}

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SUPPORT_CHAINED_COMMITS_H_
