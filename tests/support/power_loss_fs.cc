#include "tests/support/power_loss_fs.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "rocksdb/system_clock.h"

namespace penstock::testing {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

// What a disk writes as a whole or not at all.
constexpr uint64_t kSectorBytes = 512;

IOStatus PowerIsOff() { return IOStatus::IOError("the power is off"); }

std::string FolderOf(const std::string& path) { return std::filesystem::path(path).parent_path().string(); }
bool IsLog(const std::string& path) { return std::filesystem::path(path).extension() == ".log"; }
bool IsTable(const std::string& path) { return std::filesystem::path(path).extension() == ".sst"; }
// RocksDB's own diary and options are written at leisure; nothing depends on them.
bool IsUntracked(const std::string& path) {
  return std::filesystem::path(path).filename().string().rfind("LOG", 0) == 0;
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  return content.str();
}

void WriteAll(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

// What may stand in a file's bytes from `synced` on after a power cut. The length may have reached the disk without the
// content: then there are zeros, or what lay there before.
void DamageTail(const std::string& path, uint64_t synced, std::mt19937_64* random) {
  std::string content = ReadAll(path);
  if (content.size() <= synced) return;
  auto below = [&](uint64_t limit) { return std::uniform_int_distribution<uint64_t>(0, limit - 1)(*random); };
  auto spoil = [&](uint64_t begin, uint64_t end, bool garbage) {
    for (uint64_t i = begin; i < end; ++i) content[i] = garbage ? static_cast<char>((*random)()) : '\0';
  };
  const uint64_t from = synced + below(content.size() - synced + 1);
  switch (below(5)) {
    case 0:
    case 1:
      content.resize(from);
      break;
    case 2:
      spoil(from, content.size(), /*garbage=*/false);
      break;
    case 3:
      spoil(from, content.size(), /*garbage=*/true);
      break;
    default:  // sectors reach the disk in any order
      for (uint64_t begin = synced; begin < content.size();) {
        const uint64_t end = std::min<uint64_t>(content.size(), (begin / kSectorBytes + 1) * kSectorBytes);
        const uint64_t fate = below(3);  // written, zeros, garbage
        if (fate != 0) spoil(begin, end, /*garbage=*/fate == 2);
        begin = end;
      }
  }
  WriteAll(path, content);
}

class SleeplessClock final : public rocksdb::SystemClockWrapper {
 public:
  SleeplessClock() : SystemClockWrapper(rocksdb::SystemClock::Default()) {}
  const char* Name() const override { return "SleeplessClock"; }
  void SleepForMicroseconds(int micros) override { SystemClockWrapper::SleepForMicroseconds(std::min(micros, 1'000)); }
};

class PowerLossEnv final : public rocksdb::EnvWrapper {
 public:
  explicit PowerLossEnv(std::unique_ptr<rocksdb::Env> target) : EnvWrapper(std::move(target)) {
    file_system_ = EnvWrapper::target()->GetFileSystem();
    system_clock_ = std::make_shared<SleeplessClock>();
  }
};

}  // namespace

std::unique_ptr<rocksdb::Env> NewPowerLossEnv(const std::shared_ptr<PowerLossFs>& fs) {
  return std::make_unique<PowerLossEnv>(rocksdb::NewCompositeEnv(fs));
}

class PowerLossFs::TrackedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  TrackedFile(PowerLossFs* fs, std::string path, std::shared_ptr<File> file,
              std::unique_ptr<rocksdb::FSWritableFile> target)
      : FSWritableFileOwnerWrapper(std::move(target)),
        fs_(fs),
        path_(std::move(path)),
        file_(std::move(file)),
        is_log_(IsLog(path_)),
        is_table_(IsTable(path_)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    if (fs_->disk_full_.load()) return IOStatus::NoSpace("the test has filled the disk");
    const uint64_t allowed = fs_->TakePowerFor(path_, data.size());
    IOStatus status = target()->Append(rocksdb::Slice(data.data(), allowed), options, debug);
    MutexLock lock(fs_->mu_);
    file_->written += allowed;
    return status.ok() ? AfterCut() : status;
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    if (fs_->power_is_off()) return PowerIsOff();
    IOStatus status = target()->Truncate(size, options, debug);
    MutexLock lock(fs_->mu_);
    file_->written = std::min(file_->written, size);
    file_->synced = std::min(file_->synced, size);
    return status;
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return DoSync(); }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return DoSync(); }
  // A hint that promises nothing.
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  IOStatus DoSync() {
    MutexLock lock(fs_->mu_);
    if (is_log_ && !fs_->log_syncs_.ok()) return fs_->log_syncs_;
    if (!fs_->off_ && !fs_->syncs_lie_.load()) file_->synced = file_->written;
    return AfterCut();
  }

  // What the process is told once the power is off. It would be dead, so that is ours to choose, as long as nothing is
  // acknowledged: no log, no MANIFEST is written any more. Table files seem to be, since RocksDB 7.8 ends on an
  // assertion (CompactionJob::UpdateCompactionJobStats, of an output's smallest key) where a compaction leaves nothing
  // and its empty file cannot be written.
  IOStatus AfterCut() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(fs_->mu_) {
    return fs_->off_ && !is_table_ ? PowerIsOff() : IOStatus::OK();
  }

  PowerLossFs* const fs_;
  const std::string path_;
  const std::shared_ptr<File> file_;
  const bool is_log_;
  const bool is_table_;
};

class PowerLossFs::TrackedFolder final : public rocksdb::FSDirectoryWrapper {
 public:
  TrackedFolder(PowerLossFs* fs, std::string path, std::unique_ptr<rocksdb::FSDirectory> target)
      : FSDirectoryWrapper(std::move(target)), fs_(fs), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    if (fs_->power_is_off()) return PowerIsOff();
    fs_->FolderSynced(path_);
    return IOStatus::OK();
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions&) override {
    return Fsync(options, debug);
  }

 private:
  PowerLossFs* const fs_;
  const std::string path_;
};

class PowerLossFs::ReadFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  ReadFile(const PowerLossFs* fs, std::unique_ptr<rocksdb::FSRandomAccessFile> target)
      : FSRandomAccessFileOwnerWrapper(std::move(target)), fs_(fs) {}

  IOStatus Read(uint64_t offset, size_t bytes, const IOOptions& options, rocksdb::Slice* result, char* scratch,
                IODebugContext* debug) const override {
    if (fs_->reads_fail_.load()) return IOStatus::IOError("the test fails this read");
    return target()->Read(offset, bytes, options, result, scratch, debug);
  }

 private:
  const PowerLossFs* const fs_;
};

void PowerLossFs::CutPowerAfter(uint64_t bytes) {
  MutexLock lock(mu_);
  bytes_until_cut_ = bytes;
}

void PowerLossFs::CutPowerInAppendTo(std::string name, uint64_t nth, uint64_t part) {
  MutexLock lock(mu_);
  cut_name_ = std::move(name);
  appends_until_cut_ = nth;
  cut_part_ = part;
}

void PowerLossFs::FailLogSyncs(bool fail, IOStatus with) {
  MutexLock lock(mu_);
  log_syncs_ = fail ? std::move(with) : IOStatus::OK();
}

bool PowerLossFs::power_is_off() const {
  MutexLock lock(mu_);
  return off_;
}

uint64_t PowerLossFs::TakePowerFor(const std::string& path, uint64_t bytes) {
  MutexLock lock(mu_);
  if (off_) return 0;
  if (appends_until_cut_ > 0 && path.find(cut_name_) != std::string::npos && --appends_until_cut_ == 0) {
    off_ = true;
    return bytes * cut_part_ / 256;
  }
  const uint64_t allowed = std::min(bytes, bytes_until_cut_);
  if (bytes_until_cut_ != UINT64_MAX) bytes_until_cut_ -= allowed;
  off_ = allowed < bytes;
  return allowed;
}

void PowerLossFs::FolderSynced(const std::string& folder) {
  MutexLock lock(mu_);
  for (auto& [path, file] : files_) {
    if (FolderOf(path) == folder) file->created_unsynced = false;
  }
  std::erase_if(renames_, [&](const Rename& rename) { return FolderOf(rename.to) == folder; });
  std::erase_if(deletions_, [&](const Deletion& deletion) {
    if (FolderOf(deletion.path) != folder) return false;
    std::filesystem::remove(deletion.kept_as);
    return true;
  });
}

void PowerLossFs::LoseUnsynced(uint64_t seed) {
  std::mt19937_64 random(seed);
  auto coin = [&] { return (random() & 1) != 0; };
  MutexLock lock(mu_);
  for (const auto& [path, file] : files_) {
    if (std::filesystem::exists(path)) DamageTail(path, file->synced, &random);
  }
  for (auto rename = renames_.rbegin(); rename != renames_.rend(); ++rename) {
    if (!coin()) break;  // Names change in order.
    if (std::filesystem::exists(rename->to)) std::filesystem::rename(rename->to, rename->from);
    if (rename->replaced) WriteAll(rename->to, rename->old_content);
  }
  for (const auto& [path, file] : files_) {
    if (file->created_unsynced && coin()) std::filesystem::remove(path);
  }
  for (const Deletion& deletion : deletions_) {
    if (coin() && !std::filesystem::exists(deletion.path)) {
      std::filesystem::rename(deletion.kept_as, deletion.path);
    } else {
      std::filesystem::remove(deletion.kept_as);
    }
  }
  files_.clear();
  renames_.clear();
  deletions_.clear();
  bytes_until_cut_ = UINT64_MAX;
  appends_until_cut_ = 0;
  off_ = false;
}

IOStatus PowerLossFs::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) {
  if (IsUntracked(path)) return target()->NewWritableFile(path, options, file, debug);
  if (power_is_off()) return PowerIsOff();
  std::unique_ptr<rocksdb::FSWritableFile> opened;
  IOStatus status = target()->NewWritableFile(path, options, &opened, debug);
  if (!status.ok()) return status;
  auto tracked = std::make_shared<File>();
  tracked->created_unsynced = true;
  {
    MutexLock lock(mu_);
    files_[path] = tracked;
  }
  *file = std::make_unique<TrackedFile>(this, path, tracked, std::move(opened));
  return status;
}

IOStatus PowerLossFs::ReopenWritableFile(const std::string&, const rocksdb::FileOptions&,
                                         std::unique_ptr<rocksdb::FSWritableFile>*, IODebugContext*) {
  return IOStatus::NotSupported("not needed by these tests");
}

IOStatus PowerLossFs::ReuseWritableFile(const std::string&, const std::string&, const rocksdb::FileOptions&,
                                        std::unique_ptr<rocksdb::FSWritableFile>*, IODebugContext*) {
  return IOStatus::NotSupported("logs are not recycled");
}

IOStatus PowerLossFs::NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                          std::unique_ptr<rocksdb::FSRandomAccessFile>* file, IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSRandomAccessFile> opened;
  IOStatus status = target()->NewRandomAccessFile(path, options, &opened, debug);
  if (status.ok()) *file = std::make_unique<ReadFile>(this, std::move(opened));
  return status;
}

IOStatus PowerLossFs::NewDirectory(const std::string& path, const IOOptions& options,
                                   std::unique_ptr<rocksdb::FSDirectory>* folder, IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> opened;
  IOStatus status = target()->NewDirectory(path, options, &opened, debug);
  if (status.ok()) *folder = std::make_unique<TrackedFolder>(this, path, std::move(opened));
  return status;
}

IOStatus PowerLossFs::DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) {
  if (power_is_off()) return PowerIsOff();
  MutexLock lock(mu_);
  auto found = files_.find(path);
  const bool was_on_disk = found == files_.end() || !found->second->created_unsynced;
  if (!was_on_disk || !std::filesystem::exists(path)) {
    if (found != files_.end()) files_.erase(found);
    return target()->DeleteFile(path, options, debug);
  }
  // Whoever has it open still reads it; what of it is on disk may come back.
  Deletion deletion{path, graveyard_ / std::to_string(graves_++)};
  std::filesystem::rename(path, deletion.kept_as);
  if (found != files_.end()) {
    std::filesystem::resize_file(deletion.kept_as, std::min<uint64_t>(found->second->synced, found->second->written));
    files_.erase(found);
  }
  deletions_.push_back(std::move(deletion));
  return IOStatus::OK();
}

IOStatus PowerLossFs::RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                                 IODebugContext* debug) {
  if (IsUntracked(from)) return target()->RenameFile(from, to, options, debug);
  if (power_is_off()) return PowerIsOff();
  MutexLock lock(mu_);
  Rename rename{from, to, std::filesystem::exists(to), {}};
  if (rename.replaced) rename.old_content = ReadAll(to);
  IOStatus status = target()->RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  auto found = files_.find(from);
  if (found != files_.end()) {
    // The rename is what may be undone now, not the file.
    found->second->created_unsynced = false;
    files_[to] = found->second;
    files_.erase(found);
  }
  renames_.push_back(std::move(rename));
  return status;
}

IOStatus PowerLossFs::GetFreeSpace(const std::string& path, const IOOptions& options, uint64_t* free,
                                   IODebugContext* debug) {
  IOStatus status = target()->GetFreeSpace(path, options, free, debug);
  if (disk_full_.load()) *free = 0;
  return status;
}

}  // namespace penstock::testing
