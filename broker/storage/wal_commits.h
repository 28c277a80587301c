#ifndef PENSTOCK_BROKER_STORAGE_WAL_COMMITS_H_
#define PENSTOCK_BROKER_STORAGE_WAL_COMMITS_H_

// Our own commits, read back from RocksDB's log files: what a restore to a moment replays, and what a verification of
// the chain compares.

#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "broker/storage/applied.h"
#include "broker/storage/commit_batch.h"

namespace penstock::broker {

struct LoggedCommit {
  // All operations, the Put of `applied` included.
  CommitBatch writes;
  // Absent: a seal, which writes nothing; or it was damaged.
  std::optional<Applied> applied;
  // How many bytes of writes.operations() stand before the Put of `applied`: what its hash covers.
  size_t hashed_bytes = 0;

  // Whether this is the commit that follows `previous`: by its number, and by the chain of hashes.
  bool Follows(const Applied& previous) const;
};

// Takes one record of a log apart. DataLoss if it is none of ours.
absl::StatusOr<LoggedCommit> ParseLoggedCommit(std::string_view payload);

// Takes what is right out of a record with wrong checksums: Puts whose value's own checksum, which covers the key, is
// right. `broken` hears of the others. Deletes are not among them: nothing vouches for their keys.
LoggedCommit ParseDamagedCommit(std::string_view payload,
                                absl::FunctionRef<void(Family family, std::string_view key)> broken);

// Visits the commits of a log file's content in their order until `visit` returns false; seals, and records that are
// none of ours, are passed over.
void ForEachLoggedCommit(std::string_view content, absl::FunctionRef<bool(const LoggedCommit& commit)> visit);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_WAL_COMMITS_H_
