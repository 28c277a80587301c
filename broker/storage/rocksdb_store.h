#ifndef PENSTOCK_BROKER_STORAGE_ROCKSDB_STORE_H_
#define PENSTOCK_BROKER_STORAGE_ROCKSDB_STORE_H_

// The store on disk: RocksDB 7.8, one column family a Family. No RocksDB header is needed to use it.
//
// Threads: commits from one thread, reads and GetHealth from any. Errors of commits: ResourceExhausted when the disk is
// full, DataLoss when RocksDB has met damage (a compaction, mostly), Unavailable for the others. After either every
// commit fails so, and the store has to be destroyed and opened anew, which succeeds once there is space. What failed
// may still be found then. A read through the store itself that the operating system fails (not one that finds damage,
// nor one of a snapshot) ends commits, too: whoever decides what is committed must not take "cannot be read just now"
// for "is not there".
//
// Destroying the store waits for its snapshots to be released.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "broker/storage/store.h"

namespace rocksdb {
class DB;
class Env;
}  // namespace rocksdb

namespace penstock::broker {

struct RocksDbStoreOptions {
  // The database's folder (DataDir::db_path). Made if its parent exists.
  std::string path;
  // Blocks read from disk that are kept, with the index and filter blocks of the files; memtables are charged to it
  // too.
  size_t block_cache_bytes = size_t{128} << 20;
  // All memtables together. A family's memtable is written out at a third of it at most.
  size_t memtable_bytes = size_t{96} << 20;
  // Above it the oldest memtables are written out. Bounds what a start has to replay (64 MiB: 0.3 to 0.7 s).
  uint64_t wal_bytes = uint64_t{64} << 20;
  // For how long log files that are not needed any more are kept in `archive/`, for backups to fetch them. 0: not at
  // all.
  uint64_t keep_logs_seconds = 0;
  int open_files = 512;
  // Threads that write out memtables and compact: 2 to 4.
  int background_jobs = 4;
  // For fault tests: where files are written. Not owned. Default: the operating system.
  rocksdb::Env* env = nullptr;
};

// What opening found. For logs and metrics.
struct OpenReport {
  // See wal_recovery.h. 1: the log was whole. 2: damaged only where it is not needed any more. 3: an unsynced tail was
  // cut.
  int step = 1;
  uint64_t wal_files = 0;
  uint64_t wal_bytes = 0;
  uint64_t dropped_bytes = 0;
  std::string dropped_from;  // file and offset
  // Of the MANIFEST's unsynced tail; see manifest_recovery.h.
  uint64_t manifest_dropped_bytes = 0;
  // The last sequence number (RocksDB's) that the log proves to have been on disk, and the last one in it.
  uint64_t synced_sequence = 0;
  uint64_t last_sequence = 0;
};

// Opens the database, or makes a new one. DataLoss if confirmed data is damaged: restore a backup. ResourceExhausted if
// the disk is full, Unavailable if the folder cannot be used. `report` may be null.
absl::StatusOr<std::unique_ptr<Store>> OpenRocksDbStore(const RocksDbStoreOptions& options, OpenReport* report);

// The database beneath a store that OpenRocksDbStore made, for backups; null for any other.
rocksdb::DB* DatabaseOf(Store& store);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_ROCKSDB_STORE_H_
