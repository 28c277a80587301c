#ifndef PENSTOCK_BROKER_STORAGE_BACKUP_REPOSITORY_H_
#define PENSTOCK_BROKER_STORAGE_BACKUP_REPOSITORY_H_

// A folder of backups:
//
//   BACKUPS        text, one key=value a line: format, min_reader, instance (whose backups these are)
//   LOCK.penstock  held (flock) by whoever works with the folder
//   RESTORES       text, a line for each restore: the epoch that its broker begins above
//   rocksdb/       RocksDB's backup engine: files that several backups have in common are stored once
//   log/           copies of write-ahead logs, for restores to a moment between two backups (log_archive.h)
//
// The folder has mode 0700. Text files are written whole, synced and renamed.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/storage/applied.h"

namespace rocksdb {
class BackupEngine;
class DB;
}  // namespace rocksdb

namespace penstock::broker {

// What a backup says of itself, beside RocksDB's figures.
struct BackupNote {
  std::string version;  // of Penstock
  std::string instance;
  std::string label;  // an operator's words
  // The last commit when the backup was begun: it has this one, and maybe later ones.
  Applied applied;
};

struct BackupSummary {
  uint32_t id = 0;
  absl::Time create_time;
  uint64_t bytes = 0;  // with what it has in common with others
  uint32_t files = 0;
  BackupNote note;
};

// Owned by whoever works with the folder, for as long as that takes. One thread, but for Stop.
class BackupRepository {
 public:
  // Opens the folder, or makes a new one for backups of `instance`. Errors are sentences for the operator:
  // FailedPrecondition if it is no folder of backups, another broker's, or a newer Penstock's; Unavailable if somebody
  // works with it just now, or it cannot be used.
  static absl::StatusOr<std::unique_ptr<BackupRepository>> OpenFor(const std::string& path, const std::string& instance,
                                                                   uint64_t bytes_per_second);
  // An existing folder, whosoever it is.
  static absl::StatusOr<std::unique_ptr<BackupRepository>> OpenExisting(const std::string& path);
  ~BackupRepository();

  const std::string& path() const { return path_; }
  std::string log_path() const { return path_ + "/log"; }

  // In the order of their ids, which is that of their making.
  std::vector<BackupSummary> List() const;
  // Backups whose list of files cannot be read: they are not in List.
  std::vector<uint32_t> Damaged() const;
  // NotFound.
  absl::StatusOr<BackupSummary> Get(uint32_t id) const;

  // Copies the running database `db`: a state that it had at one moment after the call began. Commits go on meanwhile.
  // Every file is synced, then read again and compared with its checksum; a backup that fails this is deleted
  // (DataLoss). `progress` is called now and then with the bytes copied so far. Cancelled after Stop.
  absl::StatusOr<BackupSummary> Create(rocksdb::DB& db, const BackupNote& note,
                                       const std::function<void(uint64_t copied, bool verifying)>& progress);
  // Reads all files of a backup and compares their sizes and checksums. NotFound, DataLoss; Cancelled after Stop.
  absl::Status Verify(uint32_t id);
  absl::Status Delete(uint32_t id);
  // Deletes all but the newest `count`; returns how many that were.
  absl::StatusOr<uint64_t> KeepNewest(uint32_t count);
  // Copies a backup into the folder `db_path`, which is new, and syncs it.
  absl::Status Restore(uint32_t id, const std::string& db_path);

  // The epochs noted by earlier restores, ascending.
  std::vector<uint64_t> RestoreEpochs() const;
  // Notes that a restored broker begins above `epoch`. Its numbers must not be given out again by a later restore: so a
  // restore from a folder that cannot be written fails.
  absl::Status NoteRestore(uint32_t id, uint64_t epoch, const std::string& data_dir);

  // Ends a Create or Verify that is under way. Any thread.
  void Stop();

 private:
  BackupRepository(std::string path, int lock_fd, uint64_t bytes_per_second);

  static absl::StatusOr<std::unique_ptr<BackupRepository>> Open(const std::string& path, uint64_t bytes_per_second);
  absl::Status OpenEngine();
  absl::Status VerifyFile(const std::string& name, uint32_t crc) const;

  const std::string path_;
  const int lock_fd_;
  const uint64_t bytes_per_second_;
  std::unique_ptr<rocksdb::BackupEngine> engine_;  // constant after OpenEngine
  std::atomic<bool> stopped_ = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_BACKUP_REPOSITORY_H_
