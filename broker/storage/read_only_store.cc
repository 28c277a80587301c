#include "broker/storage/read_only_store.h"

#include <filesystem>
#include <utility>

#include "broker/storage/read_only_db.h"
#include "broker/storage/rocksdb_options.h"
#include "broker/storage/wal_recovery.h"
#include "common/status.h"
#include "fmt/format.h"
#include "rocksdb/env.h"

namespace penstock::broker {
namespace {

using Visit = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

class ReadOnlyStore final : public Store {
 public:
  explicit ReadOnlyStore(std::shared_ptr<const ReadOnlyDb> db) : db_(std::move(db)) {}

  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
    rocksdb::ColumnFamilyHandle* const handle = db_->handle(family);
    if (handle == nullptr) return absl::NotFoundError("no such key");
    std::string value;
    const rocksdb::Status status = db_->db().Get(rocksdb::ReadOptions(), handle, ToSlice(key), &value);
    if (!status.ok()) return ToStatus(status);
    return value;
  }
  absl::Status Scan(Family family, std::string_view begin, std::string_view end, Visit visit) const override {
    return ScanThrough(family, begin, end, visit, /*forward=*/true);
  }
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end, Visit visit) const override {
    return ScanThrough(family, begin, end, visit, /*forward=*/false);
  }
  absl::Status Commit(const CommitBatch&, bool) override {
    return absl::FailedPreconditionError("the store was opened for reading");
  }
  // Nothing changes: the data are their own snapshot.
  std::unique_ptr<StoreReader> Snapshot() const override { return std::make_unique<ReadOnlyStore>(db_); }
  Health GetHealth() const override {
    Health health;
    db_->db().GetAggregatedIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &health.data_bytes);
    return health;
  }

 private:
  absl::Status ScanThrough(Family family, std::string_view begin, std::string_view end, Visit visit,
                           bool forward) const {
    rocksdb::ColumnFamilyHandle* const handle = db_->handle(family);
    if (handle == nullptr || (!end.empty() && begin >= end)) return absl::OkStatus();
    const rocksdb::Slice lower = ToSlice(begin);
    const rocksdb::Slice upper = ToSlice(end);
    rocksdb::ReadOptions options;
    if (!begin.empty()) options.iterate_lower_bound = &lower;
    if (!end.empty()) options.iterate_upper_bound = &upper;
    const std::unique_ptr<rocksdb::Iterator> it(db_->db().NewIterator(options, handle));
    for (forward ? it->SeekToFirst() : it->SeekToLast(); it->Valid(); forward ? it->Next() : it->Prev()) {
      if (!visit(ToView(it->key()), ToView(it->value()))) break;
    }
    return ToStatus(it->status());
  }

  const std::shared_ptr<const ReadOnlyDb> db_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenReadOnlyStore(const std::string& db_path, bool damaged_too,
                                                         OpenReport* report) {
  OpenReport own_report;
  if (report == nullptr) report = &own_report;
  *report = OpenReport();
  std::error_code error;
  if (!std::filesystem::exists(db_path, error) || std::filesystem::is_empty(db_path, error)) {
    return absl::FailedPreconditionError(
        fmt::format("{} holds no database: no broker has finished its first start there", db_path));
  }
  ASSIGN_OR_RETURN(const WalVerdict verdict, JudgeWal(db_path, rocksdb::Env::Default(), report));
  const bool rotten = verdict.state == WalVerdict::State::kRotten;
  if (rotten && !damaged_too) {
    return absl::DataLossError(fmt::format(
        "the write-ahead log is damaged: {}. Commits that were on disk and confirmed cannot be read", verdict.place));
  }
  ReadOnlyDb::Options options = ReadOnlyDb::Options::Of(verdict.manifest);
  absl::StatusOr<std::unique_ptr<ReadOnlyDb>> db = ReadOnlyDb::Open(db_path, nullptr, options);
  // Files may hold more than what can be read of the log: then RocksDB refuses to show the log at all.
  options.without_logs = true;
  if (!db.ok() && rotten) db = ReadOnlyDb::Open(db_path, nullptr, options);
  if (!db.ok()) return Annotate(db.status(), fmt::format("the database in {} cannot be opened", db_path));
  return std::make_unique<ReadOnlyStore>(*std::move(db));
}

}  // namespace penstock::broker
