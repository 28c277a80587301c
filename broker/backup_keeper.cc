#include "broker/backup_keeper.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "broker/storage/applied.h"
#include "broker/storage/log_archive.h"
#include "broker/storage/rocksdb_store.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/text.h"
#include "common/units.h"
#include "common/version.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr size_t kJobsMax = 16;
constexpr char kDefaultFolder[] = "default";
constexpr uint8_t kPartition = 0;

}  // namespace

BackupKeeper::BackupKeeper(BackupKeeperOptions options) : options_(std::move(options)), thread_([this] { Run(); }) {}

void BackupKeeper::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    if (current_ != nullptr) current_->Stop();
  }
  changed_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

void BackupKeeper::Post(Job job) {
  absl::Status refused;
  {
    MutexLock lock(mu_);
    if (stopping_) {
      refused = absl::UnavailableError("the broker is stopping");
    } else if (jobs_.size() >= kJobsMax) {
      refused = absl::ResourceExhaustedError(
          fmt::format("{} requests about backups wait already: wait for the backup that is being made", kJobsMax));
    } else {
      jobs_.push_back(std::move(job));
      changed_.SignalAll();
      return;
    }
  }
  job(refused);
}

void BackupKeeper::Run() {
  LookBack();
  while (true) {
    Job job;
    absl::Status refused;
    {
      MutexLock lock(mu_);
      while (jobs_.empty() && !stopping_) changed_.Wait(mu_);
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
      if (stopping_) refused = absl::UnavailableError("the broker is stopping");
    }
    job(refused);
  }
}

void BackupKeeper::LookBack() {
  std::error_code error;
  for (std::filesystem::directory_iterator it(options_.dir, error), end; !error && it != end; it.increment(error)) {
    if (!std::filesystem::exists(it->path() / "BACKUPS", error)) continue;
    const auto repository = Open(it->path().filename().string());
    if (!repository.ok()) continue;  // another broker's
    const std::vector<BackupSummary> backups = (*repository)->List();
    if (backups.empty()) continue;
    MutexLock lock(mu_);
    if (backups.back().create_time > figures_.last_success) {
      figures_.last_success = backups.back().create_time;
      figures_.last_bytes = backups.back().bytes;
    }
  }
}

std::string BackupKeeper::PathOf(const std::string& folder) const {
  return fmt::format("{}/{}", options_.dir, folder.empty() ? kDefaultFolder : folder);
}

absl::StatusOr<std::unique_ptr<BackupRepository>> BackupKeeper::Open(const std::string& folder) const {
  if (mkdir(options_.dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::UnavailableError(fmt::format("cannot make {} (backup.dir): {}", options_.dir, std::strerror(errno)));
  }
  return BackupRepository::OpenFor(PathOf(folder), options_.instance, options_.bytes_per_second);
}

BackupView BackupKeeper::ToView(const BackupSummary& backup, const std::string& path) const {
  BackupView view;
  view.id = backup.id;
  view.create_time = backup.create_time;
  view.bytes = backup.bytes;
  view.files = backup.files;
  view.label = backup.note.label;
  view.commit_sequence = backup.note.applied.sequence;
  view.commit_time = backup.note.applied.time_micros;
  view.epoch = backup.note.applied.epoch;
  view.version = backup.note.version;
  view.path = path;
  return view;
}

void BackupKeeper::Create(std::string folder, std::string label, uint32_t keep,
                          std::function<void(BackupProgressView)> progress, Done<BackupMade> done) {
  Post([this, folder = std::move(folder), label = std::move(label), keep, progress = std::move(progress),
        done = std::move(done)](const absl::Status& refused) {
    if (!refused.ok()) return done(refused);
    const absl::Time start = absl::Now();
    {
      MutexLock lock(mu_);
      figures_.running = true;
    }
    absl::StatusOr<BackupMade> made = MakeBackup(folder, label, keep, progress);
    const absl::Duration took = absl::Now() - start;
    {
      MutexLock lock(mu_);
      figures_.running = false;
      if (made.ok()) {
        ++figures_.succeeded;
        figures_.last_success = made->backup.create_time;
        figures_.last_bytes = made->backup.bytes;
        figures_.last_duration = took;
        figures_.last_error.clear();
      } else {
        ++figures_.failed;
        figures_.last_error = std::string(made.status().message());
      }
    }
    if (made.ok()) {
      LogFor("backup").info("backup made id={} path={} bytes={} commit={} deleted={} took={}", made->backup.id,
                            made->backup.path, made->backup.bytes, made->backup.commit_sequence, made->deleted,
                            penstock::FormatDuration(took));
    } else {
      LogFor("backup").error("backup failed path={} error=\"{}\"", PathOf(folder), ToStd(made.status().message()));
    }
    done(std::move(made));
  });
}

void BackupKeeper::SetStore(Store* store) {
  MutexLock lock(mu_);
  store_ = nullptr;
  if (current_ != nullptr) current_->Stop();
  while (copying_) changed_.Wait(mu_);
  store_ = store;
}

absl::StatusOr<BackupSummary> BackupKeeper::Copy(Store& store, const std::string& label, BackupRepository& repository,
                                                 const std::function<void(BackupProgressView)>& progress) {
  rocksdb::DB* const db = DatabaseOf(store);
  if (db == nullptr) return absl::FailedPreconditionError("this broker keeps its data in memory");
  BackupNote note;
  note.version = kVersion;
  note.instance = options_.instance;
  note.label = label;
  const std::string key = AppliedKey(kPartition);
  ASSIGN_OR_RETURN(const std::string value, store.Get(Family::kMeta, key));
  ASSIGN_OR_RETURN(note.applied, DecodeApplied(key, value));
  return repository.Create(*db, note, [&](uint64_t copied, bool verifying) { progress({copied, verifying}); });
}

absl::StatusOr<BackupMade> BackupKeeper::MakeBackup(const std::string& folder, const std::string& label, uint32_t keep,
                                                    const std::function<void(BackupProgressView)>& progress) {
  ASSIGN_OR_RETURN(const std::unique_ptr<BackupRepository> repository, Open(folder));
  Store* store = nullptr;
  {
    MutexLock lock(mu_);
    if (stopping_) return absl::UnavailableError("the broker is stopping");
    if (store_ == nullptr) return absl::UnavailableError("the broker's store is closed for a while: try later");
    store = store_;
    copying_ = true;
    current_ = repository.get();
  }
  absl::StatusOr<BackupSummary> summary = Copy(*store, label, *repository, progress);
  {
    MutexLock lock(mu_);
    current_ = nullptr;
    copying_ = false;
    if (stopping_ && !summary.ok()) summary = absl::UnavailableError("the broker is stopping");
    if (store_ == nullptr && absl::IsCancelled(summary.status())) {
      summary = absl::UnavailableError("the broker closed its store meanwhile: try later");
    }
  }
  changed_.SignalAll();
  RETURN_IF_ERROR(summary.status());
  BackupMade made;
  made.backup = ToView(*summary, repository->path());
  // The logs up to the backup, then what is not needed any more: so a failure in between leaves too much, not too
  // little.
  if (options_.copy_logs) {
    RETURN_IF_ERROR(Annotate(CopyLogs(options_.db_path, repository->log_path()).status(),
                             "the backup was made, its logs were not copied"));
  }
  if (keep > 0) {
    ASSIGN_OR_RETURN(made.deleted, repository->KeepNewest(keep));
  }
  RETURN_IF_ERROR(KeepLogs(*repository));
  return made;
}

absl::Status BackupKeeper::KeepLogs(BackupRepository& repository) {
  uint64_t oldest = UINT64_MAX;
  for (const BackupSummary& backup : repository.List()) oldest = std::min(oldest, backup.note.applied.sequence);
  return DropLogs(repository.log_path(), oldest);
}

void BackupKeeper::List(std::string folder, Done<std::vector<BackupView>> done) {
  Post([this, folder = std::move(folder), done = std::move(done)](const absl::Status& refused) {
    if (!refused.ok()) return done(refused);
    std::error_code error;
    std::vector<BackupView> views;
    // A folder that was never used is not made for a list.
    if (!std::filesystem::exists(PathOf(folder), error)) return done(std::move(views));
    const auto repository = Open(folder);
    if (!repository.ok()) return done(repository.status());
    for (const BackupSummary& backup : (*repository)->List()) views.push_back(ToView(backup, (*repository)->path()));
    done(std::move(views));
  });
}

void BackupKeeper::Verify(std::string folder, uint32_t id, Done<BackupView> done) {
  Post([this, folder = std::move(folder), id, done = std::move(done)](const absl::Status& refused) {
    if (!refused.ok()) return done(refused);
    const auto repository = Open(folder);
    if (!repository.ok()) return done(repository.status());
    if (absl::Status whole = (*repository)->Verify(id); !whole.ok()) return done(whole);
    const auto backup = (*repository)->Get(id);
    if (!backup.ok()) return done(backup.status());
    done(ToView(*backup, (*repository)->path()));
  });
}

void BackupKeeper::Delete(std::string folder, uint32_t id, Done<BackupView> done) {
  Post([this, folder = std::move(folder), id, done = std::move(done)](const absl::Status& refused) {
    if (!refused.ok()) return done(refused);
    const auto repository = Open(folder);
    if (!repository.ok()) return done(repository.status());
    const auto backup = (*repository)->Get(id);
    if (!backup.ok()) return done(backup.status());
    absl::Status status = (*repository)->Delete(id);
    if (status.ok()) status = KeepLogs(**repository);
    if (!status.ok()) return done(status);
    LogFor("backup").info("backup deleted id={} path={}", id, (*repository)->path());
    done(ToView(*backup, (*repository)->path()));
  });
}

BackupFigures BackupKeeper::figures() const {
  MutexLock lock(mu_);
  return figures_;
}

}  // namespace penstock::broker
