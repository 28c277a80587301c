#ifndef PENSTOCK_BROKER_STORAGE_ROCKSDB_WATCH_H_
#define PENSTOCK_BROKER_STORAGE_ROCKSDB_WATCH_H_

#include <atomic>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "rocksdb/listener.h"

namespace penstock::broker {

// Knows whether commits may go on: hears of background errors from RocksDB and of failed commits from the store. Owned
// by both; any thread may call. RocksDB's threads call the On... functions, so these only note and log.
class RocksDbWatch final : public rocksdb::EventListener {
 public:
  // OK, or why every commit has to fail until the store is opened anew: ResourceExhausted if a commit met a full disk,
  // else Unavailable. Never becomes OK again.
  absl::Status fatal() const;
  // The same, or ResourceExhausted while the disk is full.
  absl::Status health() const;

  // Takes note of a failed write. Returns what the commit answers.
  absl::Status CommitFailed(const absl::Status& status);
  // A write of which even the outcome is unknown, or data that must not be built upon.
  absl::Status Condemn(const absl::Status& status);

  // Whether the log may have been switched to a new file since the last call. True at first.
  bool TakeWalSwitched() { return wal_switched_.exchange(false); }
  bool wal_switched() const { return wal_switched_.load(); }

  // Compactions that begin before this wait for it: until then the MANIFEST stays as RocksDB's opening has left it.
  void AllowCompactions();

  void OnCompactionBegin(rocksdb::DB* db, const rocksdb::CompactionJobInfo& info) override;
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override;
  void OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) override;
  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override;
  void OnMemTableSealed(const rocksdb::MemTableInfo& info) override;

 private:
  std::atomic<bool> wal_switched_ = true;

  mutable Mutex mu_;
  CondVar allowed_;
  bool compactions_allowed_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status fatal_ ABSL_GUARDED_BY(mu_);
  absl::Status disk_full_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_ROCKSDB_WATCH_H_
