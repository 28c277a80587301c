#include "broker/storage/wal_commits.h"

#include "broker/storage/envelope.h"
#include "broker/storage/rocksdb_options.h"
#include "broker/storage/storage_check.h"
#include "broker/storage/wal_scan.h"
#include "common/status.h"
#include "rocksdb/write_batch.h"

namespace penstock::broker {
namespace {

std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// The partition's byte stands before the name.
bool IsApplied(uint32_t family, const rocksdb::Slice& key) {
  return family == 0 && !key.empty() && ToView(key).substr(1) == std::string_view(AppliedKey(0)).substr(1);
}

// RocksDB numbers its families in the order in which they were made, which is that of our numbers.
class Reader final : public rocksdb::WriteBatch::Handler {
 public:
  explicit Reader(LoggedCommit* commit) : commit_(commit) {}

  rocksdb::Status PutCF(uint32_t family, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    if (family >= kFamilyCount) return Unknown();
    if (IsApplied(family, key)) {
      absl::StatusOr<Applied> applied = DecodeApplied(ToView(key), ToView(value));
      if (!applied.ok()) return rocksdb::Status::Corruption(applied.status().ToString());
      commit_->applied = *applied;
      commit_->hashed_bytes = commit_->writes.bytes();
    }
    commit_->writes.Put(static_cast<Family>(family), ToView(key), ToView(value));
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t family, const rocksdb::Slice& key) override {
    if (family >= kFamilyCount) return Unknown();
    commit_->writes.Delete(static_cast<Family>(family), ToView(key));
    return rocksdb::Status::OK();
  }
  rocksdb::Status SingleDeleteCF(uint32_t family, const rocksdb::Slice& key) override {
    if (family >= kFamilyCount) return Unknown();
    commit_->writes.SingleDelete(static_cast<Family>(family), ToView(key));
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteRangeCF(uint32_t family, const rocksdb::Slice& begin, const rocksdb::Slice& end) override {
    if (family >= kFamilyCount) return Unknown();
    commit_->writes.DeleteRange(static_cast<Family>(family), ToView(begin), ToView(end));
    return rocksdb::Status::OK();
  }
  void LogData(const rocksdb::Slice&) override {}

 private:
  static rocksdb::Status Unknown() { return rocksdb::Status::Corruption("an unknown family"); }

  LoggedCommit* const commit_;
};

// Of a damaged record.
class TolerantReader final : public rocksdb::WriteBatch::Handler {
 public:
  TolerantReader(LoggedCommit* commit, absl::FunctionRef<void(Family family, std::string_view key)> broken)
      : commit_(commit), broken_(broken) {}

  rocksdb::Status PutCF(uint32_t number, const rocksdb::Slice& key, const rocksdb::Slice& value) override {
    if (number >= kFamilyCount) return rocksdb::Status::OK();
    const auto family = static_cast<Family>(number);
    if (!HasEnvelope(family, ToView(key))) return rocksdb::Status::OK();
    if (!OpenValue(ToView(key), ToView(value)).ok()) {
      broken_(family, ToView(key));
      return rocksdb::Status::OK();
    }
    if (IsApplied(number, key)) {
      if (auto applied = DecodeApplied(ToView(key), ToView(value)); applied.ok())
        commit_->applied = *std::move(applied);
    }
    commit_->writes.Put(family, ToView(key), ToView(value));
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status SingleDeleteCF(uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status DeleteRangeCF(uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return rocksdb::Status::OK();
  }
  void LogData(const rocksdb::Slice&) override {}

 private:
  LoggedCommit* const commit_;
  absl::FunctionRef<void(Family family, std::string_view key)> broken_;
};

}  // namespace

bool LoggedCommit::Follows(const Applied& previous) const {
  return applied && applied->sequence == previous.sequence + 1 &&
         applied->hash ==
             ChainHash(previous.hash, applied->sequence, std::string_view(writes.operations()).substr(0, hashed_bytes));
}

absl::StatusOr<LoggedCommit> ParseLoggedCommit(std::string_view payload) {
  LoggedCommit commit;
  Reader reader(&commit);
  const rocksdb::WriteBatch batch{std::string(payload)};
  RETURN_IF_ERROR(ToStatus(batch.Iterate(&reader)));
  return commit;
}

LoggedCommit ParseDamagedCommit(std::string_view payload,
                                absl::FunctionRef<void(Family family, std::string_view key)> broken) {
  LoggedCommit commit;
  TolerantReader reader(&commit, broken);
  const rocksdb::WriteBatch batch{std::string(payload)};
  batch.Iterate(&reader).PermitUncheckedError();  // as far as it can be taken apart
  return commit;
}

void ForEachLoggedCommit(std::string_view content, absl::FunctionRef<bool(const LoggedCommit& commit)> visit) {
  ForEachWalRecord(content, /*damaged_too=*/false, [&](std::string_view payload, const WalRecordState&) {
    const absl::StatusOr<LoggedCommit> commit = ParseLoggedCommit(payload);
    return !commit.ok() || !commit->applied || visit(*commit);
  });
}

}  // namespace penstock::broker
