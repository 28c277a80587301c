#include "broker/offline/restore.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "broker/core/epochs.h"
#include "broker/offline/report_text.h"
#include "broker/storage/backup_repository.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/log_archive.h"
#include "broker/storage/rocksdb_store.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace penstock::broker {
namespace {

absl::StatusOr<Applied> ReadApplied(const StoreReader& store, uint8_t partition) {
  const std::string key = AppliedKey(partition);
  ASSIGN_OR_RETURN(const std::string value, store.Get(Family::kMeta, key));
  return DecodeApplied(key, value);
}

// Newest first: those that may serve as the base.
absl::StatusOr<std::vector<BackupSummary>> Candidates(const BackupRepository& repository,
                                                      const RestoreRequest& request) {
  std::vector<BackupSummary> backups;
  if (request.backup) {
    ASSIGN_OR_RETURN(BackupSummary backup, repository.Get(*request.backup));
    backups.push_back(std::move(backup));
    return backups;
  }
  backups = repository.List();
  std::reverse(backups.begin(), backups.end());
  // RocksDB passes over them in silence: the newest that it knows would be older than the newest that there is.
  for (const uint32_t damaged : repository.Damaged()) {
    if (request.until || (!backups.empty() && damaged < backups.front().id)) continue;
    return absl::DataLossError(fmt::format("{}; the newest that can be read is {}: restore that with --backup",
                                           std::string(repository.Get(damaged).status().message()),
                                           backups.empty() ? "none" : fmt::format("backup {}", backups.front().id)));
  }
  if (backups.empty()) return absl::NotFoundError(fmt::format("{} has no backups", repository.path()));
  if (request.until) {
    std::erase_if(backups, [&](const BackupSummary& backup) {
      const Applied& applied = backup.note.applied;
      return (request.until->sequence && applied.sequence > *request.until->sequence) ||
             (request.until->time && applied.time_micros > *request.until->time);
    });
  }
  if (backups.empty()) {
    return absl::NotFoundError(
        fmt::format("all backups in {} are newer than that: an older one is needed, from which logs lead up to it",
                    repository.path()));
  }
  return backups;
}

bool IsBeyond(const Applied& applied, const RestoreUntil& until) {
  return (until.sequence && applied.sequence > *until.sequence) || (until.time && applied.time_micros > *until.time);
}

class Restore {
 public:
  Restore(const RestoreRequest& request, const CoreOptions& options, BackupRepository& repository, DataDir& folder)
      : request_(request), options_(options), repository_(repository), folder_(folder) {}

  absl::StatusOr<RestoreReport> Run() {
    ASSIGN_OR_RETURN(const std::vector<BackupSummary> candidates, Candidates(repository_, request_));
    for (size_t i = 0; i < candidates.size(); ++i) {
      const absl::StatusOr<bool> fits = RestoreBase(candidates[i]);
      if (!fits.ok()) return fits.status();
      if (*fits) break;
      // It was made over a while, and reached beyond the moment that is asked for.
      store_.reset();
      std::filesystem::remove_all(folder_.db_path());
      if (i + 1 == candidates.size()) {
        return absl::NotFoundError("the oldest backup before that moment has more than it: an older one is needed");
      }
    }
    if (request_.until) RETURN_IF_ERROR(Replay());
    RETURN_IF_ERROR(RaiseEpoch());
    store_.reset();
    ASSIGN_OR_RETURN(report_.verified, VerifyFolder(folder_, options_));
    RETURN_IF_ERROR(folder_.FinishNew());
    report_.verified.format = folder_.format();
    report_.data_dir = folder_.path();
    return report_;
  }

 private:
  // False: it is beyond the moment.
  absl::StatusOr<bool> RestoreBase(const BackupSummary& backup) {
    report_.backup = backup.id;
    backup_epoch_ = backup.note.applied.epoch;
    RETURN_IF_ERROR(repository_.Restore(backup.id, folder_.db_path()));
    RocksDbStoreOptions store_options;
    store_options.path = folder_.db_path();
    ASSIGN_OR_RETURN(store_, OpenRocksDbStore(store_options, nullptr));
    ASSIGN_OR_RETURN(report_.applied, ReadApplied(*store_, options_.partition));
    return !request_.until || !IsBeyond(report_.applied, *request_.until);
  }

  absl::Status Replay() {
    ReplayLimit limit;
    limit.sequence = request_.until->sequence;
    limit.time = request_.until->time;
    // Commits of a broker that was restored from here are another story, though they follow as well.
    for (const uint64_t epoch : repository_.RestoreEpochs()) {
      if (epoch > backup_epoch_) limit.epoch_end = std::min(limit.epoch_end, epoch);
    }
    std::vector<std::string> folders = {repository_.log_path()};
    for (const std::string& folder : request_.logs) {
      folders.push_back(folder);
      folders.push_back(folder + "/archive");
    }
    ASSIGN_OR_RETURN(const ReplayResult result, ReplayLogs(folders, report_.applied, limit, *store_));
    report_.replayed = result.commits;
    report_.applied = result.applied;
    const bool everything = !limit.sequence && !limit.time;
    if (everything || result.limit_reached) return absl::OkStatus();
    return absl::FailedPreconditionError(fmt::format(
        "the logs lead up to commit {} at {} only, and do not show that this was the last before that moment. To "
        "restore so far: --until {}",
        result.applied.sequence, FormatMicros(result.applied.time_micros), result.applied.sequence));
  }

  // Ids and tokens that the original gave out after the backup are not given out again: epochs.h.
  absl::Status RaiseEpoch() {
    uint64_t seen = std::max(report_.applied.epoch, backup_epoch_);
    for (const uint64_t epoch : repository_.RestoreEpochs()) seen = std::max(seen, epoch);
    for (const BackupSummary& backup : repository_.List()) seen = std::max(seen, backup.note.applied.epoch);
    report_.epoch = EpochOfRestore(ToMicros(absl::Now()), options_.numbers_begin, seen);
    RETURN_IF_ERROR(repository_.NoteRestore(report_.backup, report_.epoch, folder_.path()));
    Applied applied = report_.applied;
    applied.epoch = report_.epoch;
    const std::string key = AppliedKey(options_.partition);
    CommitBatch batch;
    batch.Put(Family::kMeta, key, EncodeApplied(key, applied));
    return store_->Commit(batch, /*sync=*/true);
  }

  const RestoreRequest& request_;
  const CoreOptions& options_;
  BackupRepository& repository_;
  DataDir& folder_;
  std::unique_ptr<Store> store_;
  uint64_t backup_epoch_ = 0;
  RestoreReport report_;
};

}  // namespace

absl::StatusOr<RestoreUntil> RestoreUntil::Parse(const std::string& text) {
  RestoreUntil until;
  uint64_t sequence = 0;
  absl::Time time;
  if (text == "latest") return until;
  if (absl::SimpleAtoi(text, &sequence)) {
    until.sequence = sequence;
  } else if (absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) {
    until.time = ToMicros(time);
  } else {
    return absl::InvalidArgumentError(
        fmt::format("'{}' is neither a time (2026-11-22T15:04:05Z), nor the number of a commit, nor \"latest\"", text));
  }
  return until;
}

absl::StatusOr<RestoreReport> RestoreBackup(const RestoreRequest& request, const CoreOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<BackupRepository> repository,
                   BackupRepository::OpenExisting(request.repository));
  const std::vector<BackupSummary> backups = repository->List();
  const std::string instance = backups.empty() ? "" : backups.back().note.instance;
  std::error_code error;
  const bool existed = std::filesystem::exists(request.data_dir, error);
  ASSIGN_OR_RETURN(std::unique_ptr<DataDir> folder, DataDir::CreateNew(request.data_dir, instance));
  const std::string path = folder->path();
  absl::StatusOr<RestoreReport> report = Restore(request, options, *repository, *folder).Run();
  folder.reset();
  if (report.ok()) return report;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    std::filesystem::remove_all(entry.path(), error);
  }
  if (!existed) std::filesystem::remove(path, error);
  return report;
}

std::string ToText(const RestoreReport& report) {
  std::string out = fmt::format("restored   {} from backup {}\n", report.data_dir, report.backup);
  if (report.replayed > 0) out += fmt::format("replayed   {} commits from logs\n", FormatCount(report.replayed));
  out += fmt::format("state of   commit {} at {}\n", FormatCount(report.applied.sequence),
                     FormatMicros(report.applied.time_micros));
  out += fmt::format("epoch      the broker begins above {}, so that no id and no token comes twice\n\n", report.epoch);
  return out + ToText(report.verified);
}

std::string ToJson(const RestoreReport& report) {
  nlohmann::ordered_json json;
  json["data_dir"] = report.data_dir;
  json["backup_id"] = report.backup;
  json["replayed_commits"] = report.replayed;
  json["commit"] = {{"sequence", report.applied.sequence}, {"time", FormatMicros(report.applied.time_micros)}};
  json["epoch_above"] = report.epoch;
  json["verified"] = nlohmann::ordered_json::parse(ToJson(report.verified));
  return json.dump(2) + "\n";
}

}  // namespace penstock::broker
