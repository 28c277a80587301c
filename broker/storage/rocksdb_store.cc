#include "broker/storage/rocksdb_store.h"

#include <array>
#include <filesystem>
#include <utility>
#include <vector>

#include "broker/storage/manifest_recovery.h"
#include "broker/storage/rocksdb_diary.h"
#include "broker/storage/rocksdb_options.h"
#include "broker/storage/rocksdb_watch.h"
#include "broker/storage/storage_files.h"
#include "broker/storage/wal_recovery.h"
#include "broker/storage/wal_scan.h"
#include "common/logging.h"
#include "common/mutex.h"
#include "common/status.h"
#include "fmt/format.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/transaction_log.h"
#include "rocksdb/write_batch.h"

namespace penstock::broker {
namespace {

constexpr uint64_t kDiaryBytes = 8 << 20;

using Visit = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

class RocksDbStore final : public Store {
 public:
  // Takes the open database over. `synced` is the last sequence number that is on disk: at the start, all are.
  RocksDbStore(std::unique_ptr<rocksdb::DB> db, std::vector<rocksdb::ColumnFamilyHandle*> families,
               std::shared_ptr<rocksdb::Cache> cache, std::shared_ptr<RocksDbWatch> watch)
      : db_(std::move(db)),
        families_(std::move(families)),
        cache_(std::move(cache)),
        watch_(std::move(watch)),
        synced_sequence_(db_->GetLatestSequenceNumber()) {}
  ~RocksDbStore() override;

  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
    absl::StatusOr<std::string> value = GetAt(nullptr, family, key);
    if (!value.ok()) return Judge(value.status());
    return value;
  }
  absl::Status Scan(Family family, std::string_view begin, std::string_view end, Visit visit) const override {
    return Judge(ScanAt(nullptr, family, begin, end, visit, /*forward=*/true));
  }
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end, Visit visit) const override {
    return Judge(ScanAt(nullptr, family, begin, end, visit, /*forward=*/false));
  }
  absl::Status Commit(const CommitBatch& batch, bool sync) override;
  std::unique_ptr<StoreReader> Snapshot() const override;
  Health GetHealth() const override;
  rocksdb::DB* db() { return db_.get(); }

 private:
  class SnapshotReader;

  rocksdb::ColumnFamilyHandle* handle(Family family) const { return families_[static_cast<size_t>(family)]; }

  // `snapshot` null: as it is now.
  absl::StatusOr<std::string> GetAt(const rocksdb::Snapshot* snapshot, Family family, std::string_view key) const;
  absl::Status ScanAt(const rocksdb::Snapshot* snapshot, Family family, std::string_view begin, std::string_view end,
                      Visit visit, bool forward) const;

  // Of a read for whoever commits: see the header.
  absl::Status Judge(absl::Status status) const {
    return absl::IsUnavailable(status) ? watch_->Condemn(status) : status;
  }

  // One write to the log, with the mark that RecoverWal looks for.
  absl::Status Write(const CommitBatch& batch, bool sync);

  // Constant after construction.
  const std::unique_ptr<rocksdb::DB> db_;
  const std::vector<rocksdb::ColumnFamilyHandle*> families_;
  const std::shared_ptr<rocksdb::Cache> cache_;
  const std::shared_ptr<RocksDbWatch> watch_;

  // Of the committing thread.
  uint64_t synced_sequence_;
  bool written_ = false;

  mutable Mutex mu_;
  mutable CondVar snapshot_released_;
  mutable int snapshots_ ABSL_GUARDED_BY(mu_) = 0;
};

class RocksDbStore::SnapshotReader final : public StoreReader {
 public:
  explicit SnapshotReader(const RocksDbStore& store) : store_(store), snapshot_(store.db_->GetSnapshot()) {
    MutexLock lock(store_.mu_);
    ++store_.snapshots_;
  }
  ~SnapshotReader() override {
    store_.db_->ReleaseSnapshot(snapshot_);
    MutexLock lock(store_.mu_);
    if (--store_.snapshots_ == 0) store_.snapshot_released_.SignalAll();
  }

  absl::StatusOr<std::string> Get(Family family, std::string_view key) const override {
    return store_.GetAt(snapshot_, family, key);
  }
  absl::Status Scan(Family family, std::string_view begin, std::string_view end, Visit visit) const override {
    return store_.ScanAt(snapshot_, family, begin, end, visit, /*forward=*/true);
  }
  absl::Status ScanBackward(Family family, std::string_view begin, std::string_view end, Visit visit) const override {
    return store_.ScanAt(snapshot_, family, begin, end, visit, /*forward=*/false);
  }

 private:
  const RocksDbStore& store_;
  const rocksdb::Snapshot* const snapshot_;
};

RocksDbStore::~RocksDbStore() {
  {
    MutexLock lock(mu_);
    while (snapshots_ > 0) snapshot_released_.Wait(mu_);
  }
  // A last record that says that all before it is on disk: so that damage to the last commit, too, is recognised.
  if (written_ && watch_->fatal().ok() && watch_->health().ok()) Write(CommitBatch(), /*sync=*/true).IgnoreError();
  for (auto* family : families_) db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  const rocksdb::Status closed = db_->Close();
  if (!closed.ok()) LogFor("store").warn("close failed error=\"{}\"", closed.ToString());
}

absl::StatusOr<std::string> RocksDbStore::GetAt(const rocksdb::Snapshot* snapshot, Family family,
                                                std::string_view key) const {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  std::string value;
  const rocksdb::Status status = db_->Get(options, handle(family), ToSlice(key), &value);
  if (!status.ok()) return ToStatus(status);
  return value;
}

absl::Status RocksDbStore::ScanAt(const rocksdb::Snapshot* snapshot, Family family, std::string_view begin,
                                  std::string_view end, Visit visit, bool forward) const {
  if (!end.empty() && begin >= end) return absl::OkStatus();
  // The bounds keep the iterator from walking through the remains of deleted keys outside of them.
  const rocksdb::Slice lower = ToSlice(begin);
  const rocksdb::Slice upper = ToSlice(end);
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  if (!begin.empty()) options.iterate_lower_bound = &lower;
  if (!end.empty()) options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, handle(family)));
  for (forward ? it->SeekToFirst() : it->SeekToLast(); it->Valid(); forward ? it->Next() : it->Prev()) {
    if (!visit(ToView(it->key()), ToView(it->value()))) break;
  }
  return ToStatus(it->status());
}

absl::Status RocksDbStore::Commit(const CommitBatch& batch, bool sync) {
  RETURN_IF_ERROR(watch_->fatal());
  // The first record of a log file is on disk before a second one is written: RecoverWal relies on it.
  sync = watch_->TakeWalSwitched() || sync;
  RETURN_IF_ERROR(Write(batch, sync));
  if (!sync && watch_->TakeWalSwitched()) RETURN_IF_ERROR(Write(CommitBatch(), /*sync=*/true));
  return absl::OkStatus();
}

absl::Status RocksDbStore::Write(const CommitBatch& batch, bool sync) {
  constexpr size_t kOverhead = 64;
  rocksdb::WriteBatch writes(batch.bytes() + kOverhead, /*max_bytes=*/0, /*protection_bytes_per_key=*/8,
                             /*default_cf_ts_sz=*/0);
  rocksdb::Status status = writes.PutLogData(EncodeSyncMark(synced_sequence_));
  const absl::Status readable = batch.ForEach([&](const CommitBatch::Operation& operation) {
    if (!status.ok()) return;
    rocksdb::ColumnFamilyHandle* const family = handle(operation.family);
    const rocksdb::Slice key = ToSlice(operation.key);
    switch (operation.kind) {
      case CommitBatch::Kind::kPut:
        status = writes.Put(family, key, ToSlice(operation.value));
        break;
      case CommitBatch::Kind::kDelete:
        status = writes.Delete(family, key);
        break;
      case CommitBatch::Kind::kSingleDelete:
        status = writes.SingleDelete(family, key);
        break;
      case CommitBatch::Kind::kDeleteRange:
        // RocksDB leaves open what an empty or inverted range means.
        if (operation.key < operation.value) status = writes.DeleteRange(family, key, ToSlice(operation.value));
        break;
    }
  });
  if (!readable.ok()) return watch_->Condemn(readable);
  rocksdb::WriteOptions options;
  options.sync = sync;
  if (status.ok()) status = db_->Write(options, &writes);
  if (!status.ok()) return watch_->CommitFailed(ToStatus(status));
  written_ = true;
  if (sync) synced_sequence_ = db_->GetLatestSequenceNumber();
  return absl::OkStatus();
}

std::unique_ptr<StoreReader> RocksDbStore::Snapshot() const { return std::make_unique<SnapshotReader>(*this); }

Store::Health RocksDbStore::GetHealth() const {
  auto sum = [&](const std::string& property) {
    uint64_t value = 0;
    db_->GetAggregatedIntProperty(property, &value);
    return value;
  };
  auto one = [&](const std::string& property) {
    uint64_t value = 0;
    db_->GetIntProperty(property, &value);
    return value;
  };
  Health health;
  health.status = watch_->health();
  health.stalled =
      one(rocksdb::DB::Properties::kIsWriteStopped) != 0 || one(rocksdb::DB::Properties::kActualDelayedWriteRate) != 0;
  health.data_bytes = sum(rocksdb::DB::Properties::kTotalSstFilesSize);
  rocksdb::VectorLogPtr logs;
  if (db_->GetSortedWalFiles(logs).ok()) {
    for (const auto& log : logs) health.data_bytes += log->SizeFileBytes();
  }
  // Memtables are charged to the cache.
  health.memory_bytes = cache_->GetUsage() + sum(rocksdb::DB::Properties::kEstimateTableReadersMem);
  return health;
}

// RocksDB's status for what stopped it from opening, as a sentence.
absl::Status OpenError(const rocksdb::Status& status, const std::string& path) {
  const absl::Status error = ToStatus(status);
  switch (error.code()) {
    case absl::StatusCode::kDataLoss:
      return absl::DataLossError(
          fmt::format("the database in {} is damaged ({}). {}", path, status.ToString(), kDamageAdvice));
    case absl::StatusCode::kResourceExhausted:
      return Annotate(error, fmt::format("no space to open the database in {}: free some and start again", path));
    case absl::StatusCode::kInvalidArgument:
      // RocksDB's guesses when CURRENT cannot be opened: the options are to blame, direct I/O if a second try works
      // (DBImpl::Recover). Nobody asks for direct I/O, and no option of ours depends on the file system.
      if (const std::string text = status.ToString(); text.find("Direct I/O") != std::string::npos ||
                                                      text.find("incompatible with filesystem") != std::string::npos) {
        return absl::InternalError(fmt::format("cannot open the database in {}: a read failed", path));
      }
      return absl::FailedPreconditionError(
          fmt::format("the database in {} cannot be opened by this version of Penstock ({})", path, status.ToString()));
    default:
      return Annotate(error, fmt::format("cannot open the database in {}", path));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenRocksDbStore(const RocksDbStoreOptions& options, OpenReport* report) {
  OpenReport own_report;
  if (report == nullptr) report = &own_report;
  *report = OpenReport();
  RETURN_IF_ERROR(RecoverWal(options.path, options.env, report));
  if (report->step == 3) {
    LogFor("store").warn("cut an unsynced tail off the write-ahead log, which nobody was promised bytes={} from=\"{}\"",
                         report->dropped_bytes, report->dropped_from);
  }
  if (report->manifest_dropped_bytes > 0) {
    LogFor("store").warn("cut an unsynced tail off the MANIFEST, which nothing depends on bytes={}",
                         report->manifest_dropped_bytes);
  }

  const std::shared_ptr<rocksdb::Cache> cache =
      rocksdb::NewLRUCache(options.block_cache_bytes, /*num_shard_bits=*/-1, /*strict_capacity_limit=*/false);
  auto watch = std::make_shared<RocksDbWatch>();
  rocksdb::DBOptions db_options = MakeDbOptions(options, cache);
  db_options.listeners.push_back(watch);
  db_options.info_log = std::make_shared<RocksDbDiary>(options.path, kDiaryBytes);
  // Only where there is none: a database that has lost a file must not be taken for a new one.
  ASSIGN_OR_RETURN(const bool exists, FileExists(options.path + "/CURRENT"));
  db_options.create_if_missing = !exists;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(db_options, options.path, MakeFamilies(options, cache), &families, &db);
  if (!status.ok()) return OpenError(status, options.path);
  auto store = std::make_unique<RocksDbStore>(std::unique_ptr<rocksdb::DB>(db), std::move(families), cache, watch);
  const absl::Status noted = NoteSyncedManifest(options.path, db_options.env, db);
  watch->AllowCompactions();
  RETURN_IF_ERROR(noted);

  const uint64_t recovered = db->GetLatestSequenceNumber();
  if (recovered < std::max(report->synced_sequence, report->last_sequence)) {
    store.reset();
    return absl::DataLossError(fmt::format("the database in {} has recovered up to {} only, its log reaches {}. {}",
                                           options.path, recovered,
                                           std::max(report->synced_sequence, report->last_sequence), kDamageAdvice));
  }
  LogFor("store").info("opened path={} wal_files={} wal_bytes={} step={}", options.path, report->wal_files,
                       report->wal_bytes, report->step);
  return store;
}

rocksdb::DB* DatabaseOf(Store& store) {
  auto* const found = dynamic_cast<RocksDbStore*>(&store);
  return found == nullptr ? nullptr : found->db();
}

}  // namespace penstock::broker
