#ifndef PENSTOCK_BROKER_STORAGE_STORAGE_CHECK_H_
#define PENSTOCK_BROKER_STORAGE_STORAGE_CHECK_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/storage/commit_batch.h"
#include "broker/storage/rocksdb_store.h"
#include "common/task_id.h"

namespace penstock::broker {

// Something in a folder that cannot be read, or has the wrong checksum.
struct StorageDamage {
  std::string file;    // of RocksDB; empty: not known
  std::string family;  // "blocks"; empty: not known
  std::string key;     // in hexadecimal digits; empty: no single key
  TaskId task;         // whose it is; empty: nobody's. Of a block: its first task
  std::string what;
};

struct StorageCheck {
  enum class Log { kWhole, kTorn, kRotten };
  Log log = Log::kWhole;
  OpenReport open;  // as the broker's start would report it; its step 3 was not taken
  uint64_t files = 0;
  uint64_t file_bytes = 0;
  std::array<uint64_t, kFamilyCount> values{};  // by family
  // Commits that the log still has, and how many of them follow each other in the chain of hashes.
  uint64_t commits_logged = 0;
  uint64_t commits_chained = 0;
  std::vector<StorageDamage> damage;
};

// Reads every byte of a stopped broker's database: RocksDB's checksums of all files, our own of all values, the records
// of the write-ahead log and the chain of the commits in it. Changes nothing. An error: the database cannot be opened
// at all, however it is damaged.
absl::StatusOr<StorageCheck> CheckStorage(const std::string& db_path);

// Whether values under this key have an envelope. `key` begins with the partition.
bool HasEnvelope(Family family, std::string_view key);
// Whose a key is, as StorageDamage::task.
TaskId TaskOfKey(Family family, std::string_view key);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_STORAGE_CHECK_H_
