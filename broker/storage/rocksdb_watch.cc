#include "broker/storage/rocksdb_watch.h"

#include "broker/storage/rocksdb_options.h"
#include "broker/storage/storage_files.h"
#include "common/logging.h"
#include "common/text.h"
#include "fmt/format.h"

namespace penstock::broker {

absl::Status RocksDbWatch::fatal() const {
  MutexLock lock(mu_);
  return fatal_;
}

absl::Status RocksDbWatch::health() const {
  MutexLock lock(mu_);
  // Full for good, as RocksDB sees it, is mended by the next commit, which fails: enqueues must be let through to it.
  return fatal_.ok() || absl::IsResourceExhausted(fatal_) ? disk_full_ : fatal_;
}

absl::Status RocksDbWatch::CommitFailed(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) return Condemn(status);
  // RocksDB would go on by itself when there is space again, but not safely in 7.8: as long as its memtables are empty
  // it writes behind what has failed in the same log, with the same sequence numbers (a start would replay both), or
  // runs into an assertion.
  MutexLock lock(mu_);
  if (fatal_.ok()) fatal_ = status;
  return fatal_;
}

absl::Status RocksDbWatch::Condemn(const absl::Status& status) {
  MutexLock lock(mu_);
  if (fatal_.ok()) {
    // Damage that a compaction meets is there after a restart, too.
    const bool damaged = absl::IsDataLoss(status);
    const std::string text =
        fmt::format("the store {}: {}", damaged ? "is damaged and cannot go on" : "failed and must be opened anew",
                    ToStd(status.message()));
    fatal_ = damaged ? WithDamageAdvice(absl::DataLossError(text)) : absl::UnavailableError(text);
    LogFor("store").error("{}", text);
  }
  return fatal_;
}

void RocksDbWatch::AllowCompactions() {
  MutexLock lock(mu_);
  compactions_allowed_ = true;
  allowed_.SignalAll();
}

void RocksDbWatch::OnCompactionBegin(rocksdb::DB*, const rocksdb::CompactionJobInfo&) {
  // Not for ever: if opening fails after this, RocksDB waits for its compactions before it says so.
  constexpr absl::Duration kAtMost = absl::Seconds(1);
  MutexLock lock(mu_);
  while (!compactions_allowed_ && allowed_.WaitFor(mu_, kAtMost)) {
  }
}

void RocksDbWatch::OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) {
  const absl::Status status = ToStatus(*error);
  LogFor("store").error("background error reason={} severity={} error=\"{}\"", static_cast<int>(reason),
                        static_cast<int>(error->severity()), ToStd(status.message()));
  // Below "fatal" RocksDB retries by itself. If that does not help, commits fail and say so.
  if (error->severity() >= rocksdb::Status::Severity::kFatalError && absl::IsResourceExhausted(status)) {
    // A quota, of which RocksDB does not know that it may pass.
    MutexLock lock(mu_);
    if (fatal_.ok()) fatal_ = status;
  } else if (error->severity() >= rocksdb::Status::Severity::kFatalError) {
    Condemn(status).IgnoreError();
  } else if (absl::IsResourceExhausted(status)) {
    MutexLock lock(mu_);
    disk_full_ = status;
  }
}

void RocksDbWatch::OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) {
  if (!info.new_bg_error.ok()) return;
  {
    MutexLock lock(mu_);
    disk_full_ = absl::OkStatus();
  }
  LogFor("store").info("recovered from error=\"{}\"", info.old_bg_error.ToString());
}

void RocksDbWatch::OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) {
  static constexpr auto name = [](rocksdb::WriteStallCondition condition) {
    return condition == rocksdb::WriteStallCondition::kNormal    ? "none"
           : condition == rocksdb::WriteStallCondition::kDelayed ? "delayed"
                                                                 : "stopped";
  };
  LogFor("store").warn("write stall changed family={} from={} to={}", info.cf_name, name(info.condition.prev),
                       name(info.condition.cur));
}

void RocksDbWatch::OnMemTableSealed(const rocksdb::MemTableInfo&) { wal_switched_.store(true); }

}  // namespace penstock::broker
