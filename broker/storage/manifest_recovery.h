#ifndef PENSTOCK_BROKER_STORAGE_MANIFEST_RECOVERY_H_
#define PENSTOCK_BROKER_STORAGE_MANIFEST_RECOVERY_H_

// RocksDB's MANIFEST is a log of edits: which files make up the database, and which write-ahead logs it still needs. A
// power cut may tear its unsynced tail, and RocksDB then refuses to open, for good (our power cuts found that); or, if
// the damaged length of the last edit points past the end, leaves that edit out without a word. So before RocksDB opens
// the database:
//
//   - What was synced when the database was last opened is known from a file of ours, SYNCED.penstock. Damage there is
//     rot: refuse.
//   - Behind that stand edits of the broker's last life. They are acted upon (files deleted) only once they are synced.
//     So if all files that the database needs without the damaged edits are still there, nothing is lost by cutting
//     them off: the logs hold all that came after. Otherwise they had been synced: refuse.
//
// In the window before SYNCED.penstock is written RocksDB adds no edits: RocksDbWatch holds compactions back.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/storage/rocksdb_store.h"
#include "broker/storage/wal_scan.h"

namespace rocksdb {
class DB;
class Env;
}  // namespace rocksdb

namespace penstock::broker {

// What of the MANIFEST that CURRENT names is to be read.
struct ManifestVerdict {
  std::string manifest;  // empty: there is no CURRENT
  uint64_t bytes = 0;
  uint64_t intact_bytes = 0;  // less than bytes: a torn tail, which nobody needs

  bool torn() const { return intact_bytes < bytes; }
  // For LookBeneathLogs and ReadOnlyDb.
  uint64_t shown_bytes() const { return torn() ? intact_bytes : UINT64_MAX; }
};

// Judges the MANIFEST without changing anything; `logs` are the folder's. A torn tail is to be cut off before RocksDB
// opens the database. DataLoss if more than an unsynced tail is damaged. REQUIRES: nobody has the database open.
absl::StatusOr<ManifestVerdict> JudgeManifest(const std::string& db_path, rocksdb::Env* env,
                                              const std::vector<WalScan>& logs);

// Writes SYNCED.penstock. REQUIRES: compactions are still held back, nothing was committed.
absl::Status NoteSyncedManifest(const std::string& db_path, rocksdb::Env* env, rocksdb::DB* db);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_MANIFEST_RECOVERY_H_
