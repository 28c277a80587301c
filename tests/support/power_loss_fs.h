#ifndef PENSTOCK_TESTS_SUPPORT_POWER_LOSS_FS_H_
#define PENSTOCK_TESTS_SUPPORT_POWER_LOSS_FS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "tests/support/temp_folder.h"

namespace penstock::testing {

// A file system for RocksDB that knows what has been synced, and forgets the rest when the power goes off:
//   - bytes that were appended but not synced: cut off, or read back as zeros or garbage, from some byte on or sector
//     by sector;
//   - files that were created, renamed or deleted without a sync of their folder: undone by the toss of a coin.
// Only kill -9 is tested without it: the kernel keeps what a dead process wrote. Nothing is really synced, so this is
// fast.
//
// Any thread may call.
class PowerLossFs final : public rocksdb::FileSystemWrapper {
 public:
  PowerLossFs() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "PowerLossFs"; }

  // The power goes off after `bytes` more bytes have been appended, in the middle of a write: from then on writes fail;
  // those of table files seem to succeed, and nothing of them is kept.
  void CutPowerAfter(uint64_t bytes);
  // The same in the middle of the nth append, from 1, to a file whose name contains `name`: `part` in 256 of it are
  // written.
  void CutPowerInAppendTo(std::string name, uint64_t nth, uint64_t part);
  bool power_is_off() const;
  // Damages the files as the power cut would have, and switches the power on. REQUIRES: nobody has files open.
  void LoseUnsynced(uint64_t seed);

  // Faults: syncs of write-ahead logs fail, with EIO if nothing else is said; appends to any file fail with ENOSPC.
  void FailLogSyncs(bool fail, rocksdb::IOStatus with = rocksdb::IOStatus::IOError("the test fails this sync"));
  void FillDisk(bool full) { disk_full_.store(full); }
  // Reads of data files fail with EIO.
  void FailReads(bool fail) { reads_fail_.store(fail); }
  // Syncs of files say OK and do nothing, like a disk that lies: whoever tests with this class must find it out.
  void LieAboutSyncs(bool lie) { syncs_lie_.store(lie); }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file,
                                      rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* folder,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus GetFreeSpace(const std::string& path, const rocksdb::IOOptions& options, uint64_t* free,
                                 rocksdb::IODebugContext* debug) override;

 private:
  struct File {
    uint64_t written = 0;
    uint64_t synced = 0;
    bool created_unsynced = false;  // its folder has not been synced since
  };
  struct Rename {
    std::string from;
    std::string to;
    bool replaced = false;
    std::string old_content;  // of `to`, if replaced
  };
  struct Deletion {
    std::string path;
    std::string kept_as;
  };
  class TrackedFile;
  class TrackedFolder;
  class ReadFile;

  // How many of `bytes` may still be written.
  uint64_t TakePowerFor(const std::string& path, uint64_t bytes);
  void FolderSynced(const std::string& folder);

  const TempFolder graveyard_;
  std::atomic<bool> disk_full_ = false;
  std::atomic<bool> syncs_lie_ = false;
  std::atomic<bool> reads_fail_ = false;

  mutable Mutex mu_;
  rocksdb::IOStatus log_syncs_ ABSL_GUARDED_BY(mu_);
  uint64_t bytes_until_cut_ ABSL_GUARDED_BY(mu_) = UINT64_MAX;
  std::string cut_name_ ABSL_GUARDED_BY(mu_);
  uint64_t appends_until_cut_ ABSL_GUARDED_BY(mu_) = 0;  // 0: not so
  uint64_t cut_part_ ABSL_GUARDED_BY(mu_) = 0;
  bool off_ ABSL_GUARDED_BY(mu_) = false;
  std::map<std::string, std::shared_ptr<File>> files_ ABSL_GUARDED_BY(mu_);
  std::vector<Rename> renames_ ABSL_GUARDED_BY(mu_);
  std::vector<Deletion> deletions_ ABSL_GUARDED_BY(mu_);
  int graves_ ABSL_GUARDED_BY(mu_) = 0;
};

// An environment over `fs` whose threads do not sleep: RocksDB waits a second after each error in the background.
std::unique_ptr<rocksdb::Env> NewPowerLossEnv(const std::shared_ptr<PowerLossFs>& fs);

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_POWER_LOSS_FS_H_
