#ifndef PENSTOCK_BROKER_STORAGE_READ_ONLY_DB_H_
#define PENSTOCK_BROKER_STORAGE_READ_ONLY_DB_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/storage/commit_batch.h"
#include "broker/storage/manifest_recovery.h"
#include "rocksdb/db.h"

namespace rocksdb {
class Env;
class WalFilter;
}  // namespace rocksdb

namespace penstock::broker {

// A look into a RocksDB folder that changes nothing in it: for recovery, before RocksDB opens it, and for whoever looks
// at the folder of a stopped broker. Shows the data up to the first damage of the write-ahead log. Any thread may read.
// Private to the storage library: others use OpenReadOnlyStore.
class ReadOnlyDb {
 public:
  struct Options {
    bool without_logs = false;  // show all logs as empty
    // Show only so much of the file of this name.
    std::string manifest;
    uint64_t manifest_bytes = UINT64_MAX;
    rocksdb::WalFilter* filter = nullptr;  // outlives the call of Open

    // With what is to be read of the MANIFEST.
    static Options Of(const ManifestVerdict& verdict) {
      Options options;
      options.manifest = verdict.manifest;
      options.manifest_bytes = verdict.shown_bytes();
      return options;
    }
  };
  // DataLoss, or whatever else keeps RocksDB from opening it. `env` null: the operating system.
  static absl::StatusOr<std::unique_ptr<ReadOnlyDb>> Open(const std::string& path, rocksdb::Env* env,
                                                          const Options& options);
  ~ReadOnlyDb();

  rocksdb::DB& db() const { return *db_; }
  size_t family_count() const { return handles_.size(); }
  // Null if the database does not have it: its first start was cut short.
  rocksdb::ColumnFamilyHandle* handle(Family family) const { return by_family_[static_cast<size_t>(family)]; }

 private:
  ReadOnlyDb() = default;

  std::unique_ptr<rocksdb::Env> env_;  // what shows less than there is
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::vector<rocksdb::ColumnFamilyHandle*> by_family_;
  std::unique_ptr<rocksdb::DB> db_;
};

// The database without its write-ahead logs, however damaged they are.
struct BeneathLogs {
  size_t families = 0;
  // The logs from this number on are needed.
  uint64_t first_needed_log = 0;
  // The same for each family, by its number in RocksDB.
  std::map<uint32_t, uint64_t> first_by_family;
  // What the MANIFEST says of it.
  uint64_t min_log_to_keep = 0;
};
// `manifest_bytes`: shows only so much of the file of that name. Fails if RocksDB cannot open that.
absl::StatusOr<BeneathLogs> LookBeneathLogs(const std::string& path, rocksdb::Env* env,
                                            const std::string& manifest = "", uint64_t manifest_bytes = UINT64_MAX);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_READ_ONLY_DB_H_
