#include "broker/storage/wal_recovery.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "broker/storage/applied.h"
#include "broker/storage/rocksdb_options.h"
#include "broker/storage/wal_scan.h"
#include "common/status.h"
#include "fmt/format.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/wal_filter.h"

namespace penstock::broker {
namespace {

// Hears from which log on RocksDB needs the families' data.
class NeededLogs final : public rocksdb::WalFilter {
 public:
  void ColumnFamilyLogNumberMap(const std::map<uint32_t, uint64_t>& family_logs,
                                const std::map<std::string, uint32_t>&) override {
    first_ = UINT64_MAX;
    for (const auto& [family, log] : family_logs) first_ = std::min(first_, log);
  }
  const char* Name() const override { return "penstock.needed_logs"; }

  uint64_t first() const { return first_; }

 private:
  uint64_t first_ = 0;
};

class EmptyFile final : public rocksdb::FSSequentialFile {
 public:
  rocksdb::IOStatus Read(size_t, const rocksdb::IOOptions&, rocksdb::Slice* result, char*,
                         rocksdb::IODebugContext*) override {
    *result = rocksdb::Slice();
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Skip(uint64_t) override { return rocksdb::IOStatus::OK(); }
};

// Shows all write-ahead logs as empty: for a look at the database beneath them, however damaged they are.
class WithoutLogs final : public rocksdb::FileSystemWrapper {
 public:
  explicit WithoutLogs(const std::shared_ptr<rocksdb::FileSystem>& target) : FileSystemWrapper(target) {}
  const char* Name() const override { return "penstock.without_logs"; }
  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    if (std::filesystem::path(path).extension() != ".log")
      return target()->NewSequentialFile(path, options, file, debug);
    *file = std::make_unique<EmptyFile>();
    return rocksdb::IOStatus::OK();
  }
};

// A look into a database without changing its folder.
struct ReadOnlyDb {
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::unique_ptr<rocksdb::DB> db;

  ~ReadOnlyDb() {
    for (auto* family : families) db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }

  // `filter` may be null.
  absl::Status Open(const std::string& path, rocksdb::Env* env, rocksdb::WalFilter* filter) {
    rocksdb::DBOptions options = MakeReadOnlyDbOptions(env);
    options.wal_filter = filter;
    // Those that exist: a first start may have been cut short before it made all.
    std::vector<std::string> names;
    RETURN_IF_ERROR(ToStatus(rocksdb::DB::ListColumnFamilies(options, path, &names)));
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const std::string& name : names) descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
    rocksdb::DB* opened = nullptr;
    RETURN_IF_ERROR(ToStatus(rocksdb::DB::OpenForReadOnly(options, path, descriptors, &families, &opened)));
    db.reset(opened);
    return absl::OkStatus();
  }
};

absl::StatusOr<uint64_t> FirstNeededLog(const std::string& path, rocksdb::Env* env) {
  const std::unique_ptr<rocksdb::Env> beneath =
      rocksdb::NewCompositeEnv(std::make_shared<WithoutLogs>(env->GetFileSystem()));
  NeededLogs filter;
  ReadOnlyDb probe;
  RETURN_IF_ERROR(probe.Open(path, beneath.get(), &filter));
  uint64_t kept = 0;
  probe.db->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &kept);
  return std::max(kept, filter.first());
}

// For the message of a refusal: up to which commit every partition can be read.
std::string DescribeReadableCommits(const std::string& path, rocksdb::Env* env) {
  ReadOnlyDb probe;
  std::string text;
  if (!probe.Open(path, env, nullptr).ok()) return text;
  for (int partition = 0; partition < 256; ++partition) {
    const std::string key = AppliedKey(static_cast<uint8_t>(partition));
    std::string value;
    if (!probe.db->Get(rocksdb::ReadOptions(), key, &value).ok()) continue;
    const absl::StatusOr<Applied> applied = DecodeApplied(key, value);
    if (applied.ok()) text += fmt::format("; partition {} is readable up to commit {}", partition, applied->sequence);
  }
  return text;
}

struct Damage {
  size_t file = 0;      // index into the scans
  uint64_t offset = 0;  // in that file
  // The sequence number of the first commit that cannot be read; 0 if that is not known.
  uint64_t sequence = 0;
  bool records_behind = false;
};

// The first place where the logs, read as one, are not whole: a damaged file, or records that are missing between two
// files.
std::optional<Damage> FindDamage(const std::vector<WalScan>& scans) {
  std::optional<Damage> damage;
  uint64_t next = 0;
  size_t last_with_records = 0;
  for (size_t i = 0; i < scans.size(); ++i) {
    const WalScan& scan = scans[i];
    if (damage) {
      damage->records_behind = damage->records_behind || scan.records + scan.records_behind > 0;
      continue;
    }
    if (scan.records > 0) {
      if (next != 0 && scan.first_sequence > next) {
        damage = Damage{last_with_records, scans[last_with_records].bytes, next, /*records_behind=*/true};
        continue;
      }
      next = scan.next_sequence;
      last_with_records = i;
    }
    if (scan.damaged()) damage = Damage{i, scan.intact_bytes, next, scan.records_behind > 0};
  }
  return damage;
}

absl::Status Errno(const std::string& what, const std::string& path) {
  return absl::UnavailableError(fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

absl::Status SyncPath(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return Errno("open", path);
  const bool synced = fsync(fd) == 0;
  close(fd);
  return synced ? absl::OkStatus() : Errno("sync", path);
}

// Removes everything behind the damage: the later files first, so that a crash in between leaves a torn tail again.
absl::Status CutTail(const std::vector<WalScan>& scans, const Damage& damage, const std::string& folder) {
  for (size_t i = scans.size() - 1; i > damage.file; --i) {
    if (unlink(scans[i].path.c_str()) != 0) return Errno("delete", scans[i].path);
  }
  RETURN_IF_ERROR(SyncPath(folder, O_RDONLY | O_DIRECTORY));
  const std::string& path = scans[damage.file].path;
  if (truncate(path.c_str(), static_cast<off_t>(damage.offset)) != 0) return Errno("cut", path);
  return SyncPath(path, O_WRONLY);
}

// RocksDB takes a folder without CURRENT for a new database and would delete what lies there.
absl::Status CheckCurrent(const std::string& folder) {
  std::error_code error;
  if (std::filesystem::exists(folder + "/CURRENT", error)) return absl::OkStatus();
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const auto extension = it->path().extension();
    if (extension == ".sst" || extension == ".log") {
      return absl::DataLossError(
          fmt::format("{} holds data, but its file CURRENT is missing: restore a backup", folder));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RecoverWal(const std::string& db_path, rocksdb::Env* env, OpenReport* report) {
  if (env == nullptr) env = rocksdb::Env::Default();
  RETURN_IF_ERROR(CheckCurrent(db_path));
  ASSIGN_OR_RETURN(std::vector<WalScan> scans, ScanWalFolder(db_path));
  report->wal_files = scans.size();
  for (const WalScan& scan : scans) report->wal_bytes += scan.bytes;

  std::optional<Damage> damage = FindDamage(scans);
  if (damage) {
    report->step = 2;
    ASSIGN_OR_RETURN(const uint64_t first_needed, FirstNeededLog(db_path, env));
    std::erase_if(scans, [&](const WalScan& scan) { return scan.number < first_needed; });
    damage = FindDamage(scans);
  }
  for (const WalScan& scan : scans) {
    report->synced_sequence = std::max(report->synced_sequence, scan.synced_sequence);
    if (!damage && scan.records > 0) report->last_sequence = scan.next_sequence - 1;
  }
  if (!damage) return absl::OkStatus();

  const std::string place = fmt::format("{}, byte {}", scans[damage->file].path, damage->offset);
  const bool was_on_disk = damage->sequence == 0 ? damage->records_behind : report->synced_sequence >= damage->sequence;
  if (was_on_disk) {
    return absl::DataLossError(
        fmt::format("the write-ahead log is damaged: {}. Commits that were on disk and confirmed cannot be read{}. "
                    "Nothing was changed. "
                    "Restore a backup, or keep the folder and follow \"A damaged log\" in docs/operations.md",
                    place, DescribeReadableCommits(db_path, env)));
  }
  report->step = 3;
  report->dropped_from = place;
  report->dropped_bytes = scans[damage->file].bytes - damage->offset;
  for (size_t i = damage->file + 1; i < scans.size(); ++i) report->dropped_bytes += scans[i].bytes;
  if (damage->sequence != 0) report->last_sequence = damage->sequence - 1;
  return CutTail(scans, *damage, db_path);
}

}  // namespace penstock::broker
