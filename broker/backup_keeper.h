#ifndef PENSTOCK_BROKER_BACKUP_KEEPER_H_
#define PENSTOCK_BROKER_BACKUP_KEEPER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/rpc/backup_door.h"
#include "broker/storage/backup_repository.h"
#include "broker/storage/store.h"
#include "common/mutex.h"

namespace penstock::broker {

struct BackupKeeperOptions {
  std::string dir;                // the option backup.dir: each of its folders is one of backups
  uint64_t bytes_per_second = 0;  // 0: as fast as the disks are
  bool copy_logs = false;         // for restores to a moment
  std::string db_path;
  std::string instance;  // of the data folder
};

// For metrics and the status.
struct BackupFigures {
  absl::Time last_success = absl::InfinitePast();
  uint64_t last_bytes = 0;
  absl::Duration last_duration;
  uint64_t succeeded = 0;  // since the broker started
  uint64_t failed = 0;
  std::string last_error;  // empty: the last one succeeded, or there was none
  bool running = false;
};

// Makes backups of the running store, one after the other, on a thread of its own: neither the engine nor the edge
// waits for it. Owned by the server; stopped before the store goes.
class BackupKeeper final : public BackupDoor {
 public:
  // Starts the thread. No backup is made before SetStore.
  explicit BackupKeeper(BackupKeeperOptions options);
  ~BackupKeeper() override { Stop(); }

  void Create(std::string folder, std::string label, uint32_t keep, std::function<void(BackupProgressView)> progress,
              Done<BackupMade> done) override;
  void List(std::string folder, Done<std::vector<BackupView>> done) override;
  void Verify(std::string folder, uint32_t id, Done<BackupView> done) override;
  void Delete(std::string folder, uint32_t id, Done<BackupView> done) override;

  BackupFigures figures() const;

  // The store that is copied, RocksDB's; null: none, because it is closed for a while. Returns when nobody uses the one
  // before any more: a backup of it that is under way is given up.
  void SetStore(Store* store);

  // Gives up what is under way, refuses what waits, joins the thread. Safe twice.
  void Stop();

 private:
  // What is to be done once `refused` is OK; otherwise it answers so.
  using Job = std::function<void(const absl::Status& refused)>;

  void Post(Job job);
  void Run();
  // When the newest backup of all folders was made.
  void LookBack();
  // Copies the store's data. REQUIRES: copying_, which is over afterwards.
  absl::StatusOr<BackupSummary> Copy(Store& store, const std::string& label, BackupRepository& repository,
                                     const std::function<void(BackupProgressView)>& progress);
  absl::StatusOr<BackupMade> MakeBackup(const std::string& folder, const std::string& label, uint32_t keep,
                                        const std::function<void(BackupProgressView)>& progress);
  absl::Status KeepLogs(BackupRepository& repository);
  absl::StatusOr<std::unique_ptr<BackupRepository>> Open(const std::string& folder) const;
  std::string PathOf(const std::string& folder) const;
  BackupView ToView(const BackupSummary& backup, const std::string& path) const;

  const BackupKeeperOptions options_;

  mutable Mutex mu_;
  CondVar changed_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Store* store_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool copying_ ABSL_GUARDED_BY(mu_) = false;                 // the thread uses the store
  BackupRepository* current_ ABSL_GUARDED_BY(mu_) = nullptr;  // in which a backup is being made
  BackupFigures figures_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_BACKUP_KEEPER_H_
