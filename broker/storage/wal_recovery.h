#ifndef PENSTOCK_BROKER_STORAGE_WAL_RECOVERY_H_
#define PENSTOCK_BROKER_STORAGE_WAL_RECOVERY_H_

// What happens before RocksDB opens its database. None of RocksDB's own recovery modes will do: the default one loses
// confirmed commits without a word when a bit of the log has rotted, and the strict ones refuse to start after an
// ordinary power cut, whose unsynced last pages read as zeros or garbage (both measured); and kSkipAnyCorruptedRecords,
// which would show what stands behind a damage, may read for ever in 7.8, when a damaged byte looks like the type of a
// recycled record (our power cuts found that). So, in three steps:
//
//   1. Scan the log files (wal_scan.h). If all are whole: open.
//   2. If not, ask RocksDB, read-only, from which file on it needs them. If those are whole: open.
//   3. If not, judge the first damage. Two rules of RocksDbStore make that possible: every record carries the last
//   sequence
//      number known to be on disk when it was written, and the first record of a file is on disk before a second one is
//      written anywhere. So if a record behind the damage proves that what was damaged had been on disk: refuse
//      (DataLoss). Otherwise the damage is a torn tail that nobody was promised: cut it off, and open.
//
// RocksDB then opens with kTolerateCorruptedTailRecords, which refuses any damage that we should have missed.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/storage/manifest_recovery.h"
#include "broker/storage/rocksdb_store.h"
#include "broker/storage/wal_scan.h"

namespace rocksdb {
class Env;
}

namespace penstock::broker {

// What the MANIFEST and the logs are like. Nothing is changed to find out.
struct WalVerdict {
  enum class State {
    kWhole,   // where it is needed
    kTorn,    // its end is cut short, which nobody was promised
    kRotten,  // commits that were on disk cannot be read
  };
  State state = State::kWhole;  // of the logs
  ManifestVerdict manifest;
  // The files that RocksDB would read. All files, unless one is damaged.
  std::vector<WalScan> scans;
  size_t damaged_file = 0;  // index into scans
  uint64_t damaged_offset = 0;
  std::string place;  // file and offset of the damage
};

// Judges the MANIFEST and the log files of the RocksDB folder `db_path`; fills `report`, but for its step 3. DataLoss:
// there is data, but not RocksDB's file CURRENT, or the MANIFEST has lost what was on disk. REQUIRES: nobody has the
// database open.
absl::StatusOr<WalVerdict> JudgeWal(const std::string& db_path, rocksdb::Env* env, OpenReport* report);

// Makes the MANIFEST and the log files of the RocksDB folder `db_path` fit to be opened; fills `report`. A folder that
// does not exist or is empty is fine. DataLoss if confirmed commits are lost; the folder is unchanged then. REQUIRES:
// nobody has the database open.
absl::Status RecoverWal(const std::string& db_path, rocksdb::Env* env, OpenReport* report);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_WAL_RECOVERY_H_
