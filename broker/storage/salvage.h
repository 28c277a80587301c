#ifndef PENSTOCK_BROKER_STORAGE_SALVAGE_H_
#define PENSTOCK_BROKER_STORAGE_SALVAGE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/storage/storage_check.h"
#include "broker/storage/store.h"

namespace penstock::broker {

struct SalvageReport {
  uint64_t values = 0;                                  // read from table files
  uint64_t log_commits = 0;                             // read from the write-ahead log
  uint64_t log_commits_behind = 0;                      // of those, behind damage
  std::vector<std::pair<uint64_t, uint64_t>> log_gaps;  // first and last commit that the log has lost
  std::string log_damage;                               // file and offset of the first damage that matters; empty: none
  bool manifest_rebuilt = false;                        // RocksDB's list of files was of no use
  std::vector<StorageDamage> damage;                    // what cannot be read
};

// Reads all that can be read of a damaged database in `db_path` into the empty store `to`: entries of table files whose
// own checksum is right, also from blocks with a wrong one, then every whole commit of the write-ahead log, also behind
// damage. What comes out has right values only, but may lack any. The database is not changed; `scratch` is a folder of
// the caller's for copies. An error: nothing can be read, or `to` not be written.
absl::StatusOr<SalvageReport> SalvageDb(const std::string& db_path, const std::string& scratch, Store* to);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_SALVAGE_H_
