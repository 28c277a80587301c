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
    first_ = UINT64_MAX;
    for (const auto& [family, log] : family_logs) first_ = std::min(first_, log);
  }
  const char* Name() const override { return "penstock.needed_logs"; }

  uint64_t first() const { return first_; }

 private:
  uint64_t first_ = 0;
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

// Shows write-ahead logs as empty, and one file as shorter.
class Beneath final : public rocksdb::FileSystemWrapper {
 public:
  Beneath(const std::shared_ptr<rocksdb::FileSystem>& target, std::string manifest, uint64_t manifest_bytes)
      : FileSystemWrapper(target), manifest_(std::move(manifest)), manifest_bytes_(manifest_bytes) {}
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
    if (file.extension() == ".log") return 0;
    return file.filename() == manifest_ ? manifest_bytes_ : UINT64_MAX;
  }

  const std::string manifest_;
  const uint64_t manifest_bytes_;
};

}  // namespace

ReadOnlyDb::~ReadOnlyDb() {
  for (auto* family : families) db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
}

absl::Status ReadOnlyDb::Open(const std::string& path, rocksdb::Env* env, rocksdb::WalFilter* filter) {
  rocksdb::DBOptions options = MakeReadOnlyDbOptions(env);
  options.wal_filter = filter;
  RETURN_IF_ERROR(ToStatus(rocksdb::DB::ListColumnFamilies(options, path, &names)));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
  rocksdb::DB* opened = nullptr;
  RETURN_IF_ERROR(ToStatus(rocksdb::DB::OpenForReadOnly(options, path, descriptors, &families, &opened)));
  db.reset(opened);
  return absl::OkStatus();
}

absl::StatusOr<BeneathLogs> LookBeneathLogs(const std::string& path, rocksdb::Env* env, const std::string& manifest,
                                            uint64_t manifest_bytes) {
  const std::unique_ptr<rocksdb::Env> beneath =
      rocksdb::NewCompositeEnv(std::make_shared<Beneath>(env->GetFileSystem(), manifest, manifest_bytes));
  NeededLogs filter;
  ReadOnlyDb probe;
  RETURN_IF_ERROR(probe.Open(path, beneath.get(), &filter));
  BeneathLogs found;
  found.families = probe.names.size();
  probe.db->GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &found.min_log_to_keep);
  found.first_needed_log = std::max(found.min_log_to_keep, filter.first());
  return found;
}

}  // namespace penstock::broker
