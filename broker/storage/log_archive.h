#ifndef PENSTOCK_BROKER_STORAGE_LOG_ARCHIVE_H_
#define PENSTOCK_BROKER_STORAGE_LOG_ARCHIVE_H_

// Copies of write-ahead logs beside backups, and their replay: a restore to a moment between two backups.
//
// Why this is safe: what is replayed are our own commits, and each is taken only if it is the one that follows: its
// number is the next, and its hash is that of its own operations chained to the hash of the state that it comes to
// (applied.h). A log that is missing, cut short or damaged ends the replay; it cannot bend it.
//
//   <epoch>-<first commit>-<last commit>-<RocksDB's number>.log       numbers with 20 digits

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/storage/applied.h"
#include "broker/storage/store.h"

namespace penstock::broker {

// Copies the logs of the database in `db_path`, those that RocksDB has put aside (archive/) and those in use, to
// `log_path`, as far as they are not there yet. May run while commits go on: of a log in use, what is whole is copied.
// Returns how many files were copied.
absl::StatusOr<uint64_t> CopyLogs(const std::string& db_path, const std::string& log_path);

// Deletes the copies that are of no use to backups of commit `oldest` or later. UINT64_MAX: all.
absl::Status DropLogs(const std::string& log_path, uint64_t oldest);

// How far a replay goes.
struct ReplayLimit {
  std::optional<uint64_t> sequence;  // the last commit to take
  std::optional<int64_t> time;       // take commits up to this time (microseconds since 1970)
  uint64_t epoch_end = UINT64_MAX;   // take no commits of this epoch or later: a restored broker's

  bool Allows(const Applied& applied) const {
    return (!sequence || applied.sequence <= *sequence) && (!time || applied.time_micros <= *time) &&
           applied.epoch < epoch_end;
  }
};

struct ReplayResult {
  Applied applied;  // where the replay ended
  uint64_t commits = 0;
  // The commit that follows was found, and lies beyond the limit: nothing up to the limit is missing.
  bool limit_reached = false;
};

// Replays commits from the logs in `folders` (copies, or RocksDB's own) over `store`, which is at `from`, and syncs.
absl::StatusOr<ReplayResult> ReplayLogs(const std::vector<std::string>& folders, const Applied& from,
                                        const ReplayLimit& limit, Store& store);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_LOG_ARCHIVE_H_
