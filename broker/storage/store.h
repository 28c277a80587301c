#ifndef PENSTOCK_BROKER_STORAGE_STORE_H_
#define PENSTOCK_BROKER_STORAGE_STORE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/storage/commit_batch.h"

namespace penstock::broker {

// What is read from: a store as it is now, a snapshot of one, or a store with commits in flight on top
// (core/commit_builder.h). Values come back as they were put: envelopes (format version, checksum) are the records'
// business (storage/records.h).
class StoreReader {
 public:
  virtual ~StoreReader() = default;

  // NotFound if there is no such key. DataLoss if the store cannot read it.
  virtual absl::StatusOr<std::string> Get(Family family, std::string_view key) const = 0;

  // Visits the keys of [begin, end) in ascending order until `visit` returns false. An empty `end` means the family's
  // last key. Bounds are cheap to give and keep a scan away from the remains of deleted keys: always start where the
  // first living key is known to be.
  virtual absl::Status Scan(Family family, std::string_view begin, std::string_view end,
                            absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const = 0;

  // The same in descending order, from the last key before `end`.
  virtual absl::Status ScanBackward(
      Family family, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view key, std::string_view value)> visit) const = 0;
};

// A partition's data on disk, or its twin in memory. Commits come from one thread; reads from any.
class Store : public StoreReader {
 public:
  // Applies a batch as a whole or not at all. With `sync` it, and every commit before it, is on disk when this returns
  // OK. After any error the outcome is unknown and every later Commit fails too: the store must be opened anew, after
  // ResourceExhausted (the disk is full) as soon as there is space. (A store in memory, which only tests make full,
  // goes on by itself.)
  virtual absl::Status Commit(const CommitBatch& batch, bool sync) = 0;

  // The data as after the last commit; later commits do not show. Keep it for a moment only: it holds back the
  // reclaiming of space.
  virtual std::unique_ptr<StoreReader> Snapshot() const = 0;

  struct Health {
    // OK, or why commits fail or would: a fatal error, or ResourceExhausted while the disk is full.
    absl::Status status;
    // Writes are stalled or slowed until compaction has caught up.
    bool stalled = false;
    uint64_t data_bytes = 0;
    uint64_t memory_bytes = 0;  // memtables and block cache
  };
  virtual Health GetHealth() const = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_STORE_H_
