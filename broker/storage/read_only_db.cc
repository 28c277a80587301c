#include "broker/storage/read_only_db.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "broker/storage/rocksdb_options.h"
#include "common/status.h"
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
    by_family_ = family_logs;
  }
  const char* Name() const override { return "penstock.needed_logs"; }

  const std::map<uint32_t, uint64_t>& by_family() const { return by_family_; }

 private:
  std::map<uint32_t, uint64_t> by_family_;
};

// The first `bytes` of a file.
class FileStart final : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  FileStart(std::unique_ptr<rocksdb::FSSequentialFile> target, uint64_t bytes)
      : FSSequentialFileOwnerWrapper(std::move(target)), left_(bytes) {}

  rocksdb::IOStatus Read(size_t bytes, const rocksdb::IOOptions& options, rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->Read(std::min<uint64_t>(bytes, left_), options, result, scratch, debug);
    if (status.ok()) left_ -= std::min<uint64_t>(left_, result->size());
    return status;
  }
  rocksdb::IOStatus Skip(uint64_t bytes) override {
    const uint64_t skipped = std::min(bytes, left_);
    left_ -= skipped;
    return target()->Skip(skipped);
  }

 private:
  uint64_t left_;
};

// Shows write-ahead logs as empty, if that is wanted, and one file as shorter.
class Beneath final : public rocksdb::FileSystemWrapper {
 public:
  Beneath(const std::shared_ptr<rocksdb::FileSystem>& target, const ReadOnlyDb::Options& options)
      : FileSystemWrapper(target),
        without_logs_(options.without_logs),
        manifest_(options.manifest),
        manifest_bytes_(options.manifest_bytes) {}
  const char* Name() const override { return "penstock.beneath_logs"; }

  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSSequentialFile> whole;
    rocksdb::IOStatus status = target()->NewSequentialFile(path, options, &whole, debug);
    if (!status.ok()) return status;
    *file = std::make_unique<FileStart>(std::move(whole), Shown(path));
    return status;
  }
  rocksdb::IOStatus GetFileSize(const std::string& path, const rocksdb::IOOptions& options, uint64_t* size,
                                rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = target()->GetFileSize(path, options, size, debug);
    if (status.ok()) *size = std::min(*size, Shown(path));
    return status;
  }

 private:
  uint64_t Shown(const std::string& path) const {
    const std::filesystem::path file(path);
    if (without_logs_ && file.extension() == ".log") return 0;
    return file.filename() == manifest_ ? manifest_bytes_ : UINT64_MAX;
  }

  const bool without_logs_;
  const std::string manifest_;
  const uint64_t manifest_bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ReadOnlyDb>> ReadOnlyDb::Open(const std::string& path, rocksdb::Env* env,
                                                             const Options& options) {
  std::unique_ptr<ReadOnlyDb> opened(new ReadOnlyDb());
  if (env == nullptr) env = rocksdb::Env::Default();
  if (options.without_logs || options.manifest_bytes != UINT64_MAX) {
    opened->env_ = rocksdb::NewCompositeEnv(std::make_shared<Beneath>(env->GetFileSystem(), options));
    env = opened->env_.get();
  }
  rocksdb::DBOptions db_options = MakeReadOnlyDbOptions(env);
  db_options.wal_filter = options.filter;
  // Those that exist: a first start may have been cut short before it made all.
  std::vector<std::string> names;
  RETURN_IF_ERROR(ToStatus(rocksdb::DB::ListColumnFamilies(db_options, path, &names)));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
  rocksdb::DB* db = nullptr;
  RETURN_IF_ERROR(ToStatus(rocksdb::DB::OpenForReadOnly(db_options, path, descriptors, &opened->handles_, &db)));
  opened->db_.reset(db);
  for (const std::string_view name : FamilyNames()) {
    const auto found = std::find(names.begin(), names.end(), name);
    opened->by_family_.push_back(found == names.end() ? nullptr
                                                      : opened->handles_[static_cast<size_t>(found - names.begin())]);
  }
  return opened;
}

ReadOnlyDb::~ReadOnlyDb() {
  for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
}

absl::StatusOr<BeneathLogs> LookBeneathLogs(const std::string& path, rocksdb::Env* env, const std::string& manifest,
                                            uint64_t manifest_bytes) {
  NeededLogs filter;
  ReadOnlyDb::Options options;
  options.without_logs = true;
  options.manifest = manifest;
  options.manifest_bytes = manifest_bytes;
  options.filter = &filter;
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadOnlyDb> probe, ReadOnlyDb::Open(path, env, options));
  BeneathLogs found;
  found.families = probe->family_count();
  probe->db().GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &found.min_log_to_keep);
  found.first_by_family = filter.by_family();
  found.first_needed_log = UINT64_MAX;
  for (auto& [family, log] : found.first_by_family) {
    log = std::max(log, found.min_log_to_keep);
    found.first_needed_log = std::min(found.first_needed_log, log);
  }
  // Asked without a log, RocksDB names no family.
  if (found.first_by_family.empty()) found.first_needed_log = found.min_log_to_keep;
  return found;
}

}  // namespace penstock::broker
