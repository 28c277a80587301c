#include "broker/storage/scrub.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "broker/storage/rocksdb_options.h"
#include "broker/storage/rocksdb_store.h"
#include "broker/storage/wal_scan.h"
#include "common/clock.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/sst_file_reader.h"
#include "rocksdb/transaction_log.h"

namespace penstock::broker {
namespace {

constexpr size_t kPiece = 256 << 10;
// The MANIFEST is written to while it is read: a record that is not whole yet is so a moment later.
constexpr int kLooks = 3;
constexpr absl::Duration kLookAgain = absl::Seconds(1);

rocksdb::IOStatus Stopped() { return rocksdb::IOStatus::Aborted("the scrub was stopped"); }

// Reads at the scrub's pace, and from the disk: what the operating system still has in memory proves nothing.
class PacedFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  PacedFile(std::unique_ptr<rocksdb::FSRandomAccessFile> file, ScrubPace& pace, uint64_t* bytes)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), pace_(pace), bytes_(*bytes) {
    Forget();
  }
  // And leaves the memory to those who need it.
  ~PacedFile() override { Forget(); }

  rocksdb::IOStatus Read(uint64_t offset, size_t size, const rocksdb::IOOptions& options, rocksdb::Slice* result,
                         char* scratch, rocksdb::IODebugContext* debug) const override {
    if (!pace_.Take(size)) return Stopped();
    const rocksdb::IOStatus status =
        FSRandomAccessFileOwnerWrapper::Read(offset, size, options, result, scratch, debug);
    if (status.ok()) bytes_ += result->size();
    return status;
  }

 private:
  void Forget() { InvalidateCache(0, 0).PermitUncheckedError(); }

  ScrubPace& pace_;
  uint64_t& bytes_;
};

class PacedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  PacedFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target, ScrubPace& pace, uint64_t* bytes)
      : FileSystemWrapper(target), pace_(pace), bytes_(bytes) {}
  const char* Name() const override { return "PacedFileSystem"; }

  rocksdb::IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                        rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSRandomAccessFile> opened;
    rocksdb::IOStatus status = target()->NewRandomAccessFile(path, options, &opened, debug);
    if (status.ok()) *file = std::make_unique<PacedFile>(std::move(opened), pace_, bytes_);
    return status;
  }

 private:
  ScrubPace& pace_;
  uint64_t* const bytes_;
};

// One scrub.
class Scrub {
 public:
  Scrub(rocksdb::DB& db, ScrubPace& pace)
      : db_(db),
        pace_(pace),
        files_(std::make_shared<PacedFileSystem>(db.GetEnv()->GetFileSystem(), pace, &result_.bytes)),
        env_(rocksdb::NewCompositeEnv(files_)) {}

  absl::StatusOr<ScrubResult> Run() {
    RETURN_IF_ERROR(CheckManifest());
    RETURN_IF_ERROR(CheckLogs());
    RETURN_IF_ERROR(CheckTables());
    return std::move(result_);
  }

 private:
  void Damaged(const std::string& file, const std::string& what) {
    result_.damage.push_back(fmt::format("{}: {}", file, what));
  }

  absl::Status CheckTables() {
    std::vector<rocksdb::LiveFileMetaData> tables;
    db_.GetLiveFilesMetaData(&tables);
    for (const rocksdb::LiveFileMetaData& table : tables) {
      rocksdb::Options options;
      options.env = env_.get();
      options.info_log = db_.GetDBOptions().info_log;
      rocksdb::SstFileReader reader(options);
      rocksdb::Status status = reader.Open(table.db_path + table.name);
      if (status.ok()) status = reader.VerifyChecksum();
      if (status.IsAborted()) return absl::CancelledError("the scrub was stopped");
      // It may have been deleted since the list was made: by a compaction, rightly so.
      if (!status.ok() && !IsLive(table.name)) continue;
      ++result_.files;
      if (!status.ok()) {
        Damaged(table.name.substr(1),
                fmt::format("{} ({})", ToStd(ToStatus(status).message()), table.column_family_name));
      }
    }
    return absl::OkStatus();
  }

  bool IsLive(const std::string& name) {
    std::vector<rocksdb::LiveFileMetaData> tables;
    db_.GetLiveFilesMetaData(&tables);
    return std::any_of(tables.begin(), tables.end(), [&](const auto& table) { return table.name == name; });
  }

  // The newest one is being written to: it is checked when it is complete, or at the next start.
  absl::Status CheckLogs() {
    rocksdb::VectorLogPtr logs;
    if (!db_.GetSortedWalFiles(logs).ok()) return absl::OkStatus();
    for (size_t i = 0; i + 1 < logs.size(); ++i) {
      std::string content;
      const rocksdb::IOStatus status = ReadFile(db_.GetName() + logs[i]->PathName(), &content);
      if (status.IsAborted()) return absl::CancelledError("the scrub was stopped");
      if (status.IsPathNotFound() || status.IsNotFound()) continue;  // not needed any more
      ++result_.files;
      const std::string name = logs[i]->PathName().substr(1);
      if (!status.ok()) {
        Damaged(name, status.ToString());
      } else if (const WalScan scan = ScanWal(content); scan.damaged()) {
        Damaged(name, fmt::format("the write-ahead log is damaged at byte {}", scan.intact_bytes));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckManifest() {
    std::string damaged_name;
    uint64_t damaged_at = 0;
    for (int look = 0; look < kLooks; ++look) {
      if (look > 0 && !pace_.Wait(kLookAgain)) return absl::CancelledError("the scrub was stopped");
      std::string name;
      rocksdb::Status status = rocksdb::ReadFileToString(db_.GetEnv(), db_.GetName() + "/CURRENT", &name);
      while (!name.empty() && name.back() == '\n') name.pop_back();
      std::string content;
      if (status.ok()) status = ReadFile(db_.GetName() + "/" + name, &content);
      if (status.IsAborted()) return absl::CancelledError("the scrub was stopped");
      if (!status.ok()) {
        // Between the two reads a new MANIFEST may have taken the old one's place.
        if (look + 1 < kLooks) continue;
        Damaged(name.empty() ? "CURRENT" : name, status.ToString());
        break;
      }
      const uint64_t intact = IntactLogBytes(content);
      if (intact == content.size()) break;
      // Twice at the same place: not the end that is being written.
      if (name == damaged_name && intact == damaged_at) {
        Damaged(name, fmt::format("the list of the database's files is damaged at byte {}", intact));
        break;
      }
      damaged_name = name;
      damaged_at = intact;
    }
    ++result_.files;
    return absl::OkStatus();
  }

  rocksdb::IOStatus ReadFile(const std::string& path, std::string* content) {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    rocksdb::IOStatus status = files_->NewRandomAccessFile(path, rocksdb::FileOptions(), &file, nullptr);
    while (status.ok()) {
      const size_t before = content->size();
      content->resize(before + kPiece);
      rocksdb::Slice read;
      status = file->Read(before, kPiece, rocksdb::IOOptions(), &read, content->data() + before, nullptr);
      // It need not use the place that it is given.
      if (status.ok() && read.data() != content->data() + before)
        content->replace(before, read.size(), read.ToString());
      content->resize(before + (status.ok() ? read.size() : 0));
      if (read.empty()) break;
    }
    return status;
  }

  rocksdb::DB& db_;
  ScrubPace& pace_;
  ScrubResult result_;
  const std::shared_ptr<PacedFileSystem> files_;
  const std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace

bool ScrubPace::WaitUntil(absl::Duration moment) {
  MutexLock lock(mu_);
  while (!stopped_) {
    const absl::Duration left = moment - SystemClock().Read().elapsed;
    if (left <= absl::ZeroDuration()) return true;
    stopped_changed_.WaitFor(mu_, left);
  }
  return false;
}

bool ScrubPace::Take(uint64_t bytes) {
  absl::Duration turn;
  {
    MutexLock lock(mu_);
    turn = std::max(next_, SystemClock().Read().elapsed);
    next_ = turn;
    if (bytes_per_second_ > 0)
      next_ += absl::Seconds(static_cast<double>(bytes) / static_cast<double>(bytes_per_second_));
  }
  return WaitUntil(turn);
}

bool ScrubPace::Wait(absl::Duration time) { return WaitUntil(SystemClock().Read().elapsed + time); }

void ScrubPace::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  stopped_changed_.SignalAll();
}

absl::StatusOr<ScrubResult> ScrubStore(Store& store, ScrubPace& pace) {
  rocksdb::DB* const db = DatabaseOf(store);
  if (db == nullptr) return absl::FailedPreconditionError("this broker keeps its data in memory");
  return Scrub(*db, pace).Run();
}

}  // namespace penstock::broker
