#ifndef PENSTOCK_BROKER_STORAGE_READ_ONLY_DB_H_
#define PENSTOCK_BROKER_STORAGE_READ_ONLY_DB_H_

// Looks into a RocksDB folder without changing anything in it: for recovery, before RocksDB opens it. Private to the
// RocksDB store.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rocksdb/db.h"

namespace rocksdb {
class Env;
class WalFilter;
}  // namespace rocksdb

namespace penstock::broker {

struct ReadOnlyDb {
  std::vector<std::string> names;  // of the families that exist: a first start may have been cut short
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::unique_ptr<rocksdb::DB> db;

  ~ReadOnlyDb();

  // `filter` may be null.
  absl::Status Open(const std::string& path, rocksdb::Env* env, rocksdb::WalFilter* filter);
};

// The database without its write-ahead logs, however damaged they are.
struct BeneathLogs {
  size_t families = 0;
  // The logs from this number on are needed.
  uint64_t first_needed_log = 0;
  // What the MANIFEST says of it.
  uint64_t min_log_to_keep = 0;
};
// `manifest_bytes`: shows only so much of the file of that name. Fails if RocksDB cannot open that.
absl::StatusOr<BeneathLogs> LookBeneathLogs(const std::string& path, rocksdb::Env* env,
                                            const std::string& manifest = "", uint64_t manifest_bytes = UINT64_MAX);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_READ_ONLY_DB_H_
