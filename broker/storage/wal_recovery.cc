#include "broker/storage/wal_recovery.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "broker/storage/applied.h"
#include "broker/storage/manifest_recovery.h"
#include "broker/storage/read_only_db.h"
#include "broker/storage/storage_files.h"
#include "broker/storage/wal_scan.h"
#include "common/status.h"
#include "fmt/format.h"
#include "rocksdb/env.h"

namespace penstock::broker {
namespace {

// For the message of a refusal: up to which commit every partition can be read.
std::string DescribeReadableCommits(const std::string& path, rocksdb::Env* env, const ManifestVerdict& manifest) {
  std::string text;
  const auto probe = ReadOnlyDb::Open(path, env, ReadOnlyDb::Options::Of(manifest));
  if (!probe.ok()) return text;
  for (int partition = 0; partition < 256; ++partition) {
    const std::string key = AppliedKey(static_cast<uint8_t>(partition));
    std::string value;
    if (!(*probe)->db().Get(rocksdb::ReadOptions(), key, &value).ok()) continue;
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

// Removes everything behind the damage: the later files first, so that a crash in between leaves a torn tail again.
absl::Status CutTail(const WalVerdict& verdict, const std::string& folder) {
  const std::vector<WalScan>& scans = verdict.scans;
  for (size_t i = scans.size() - 1; i > verdict.damaged_file; --i) {
    RETURN_IF_ERROR(RemoveFile(scans[i].path));
  }
  RETURN_IF_ERROR(SyncFolder(folder));
  return CutFile(scans[verdict.damaged_file].path, verdict.damaged_offset);
}

// RocksDB takes a folder without CURRENT for a new database and would delete what lies there.
absl::Status CheckCurrent(const std::string& folder) {
  ASSIGN_OR_RETURN(const bool exists, FileExists(folder + "/CURRENT"));
  if (exists) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool any, FileExists(folder));
  if (!any) return absl::OkStatus();
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const auto extension = it->path().extension();
    if (extension == ".sst" || extension == ".log") {
      return absl::DataLossError(
          fmt::format("{} holds data, but its file CURRENT is missing. {}", folder, kDamageAdvice));
    }
  }
  if (error) return absl::InternalError(fmt::format("cannot list folder {}: {}", folder, error.message()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WalVerdict> JudgeWal(const std::string& db_path, rocksdb::Env* env, OpenReport* report) {
  RETURN_IF_ERROR(CheckCurrent(db_path));
  WalVerdict verdict;
  ASSIGN_OR_RETURN(verdict.scans, ScanWalFolder(db_path));
  std::vector<WalScan>& scans = verdict.scans;
  report->wal_files = scans.size();
  for (const WalScan& scan : scans) report->wal_bytes += scan.bytes;
  ASSIGN_OR_RETURN(verdict.manifest, JudgeManifest(db_path, env, scans));
  if (verdict.manifest.torn()) report->manifest_dropped_bytes = verdict.manifest.bytes - verdict.manifest.intact_bytes;

  std::optional<Damage> damage = FindDamage(scans);
  if (damage) {
    report->step = 2;
    ASSIGN_OR_RETURN(const BeneathLogs beneath,
                     LookBeneathLogs(db_path, env, verdict.manifest.manifest, verdict.manifest.shown_bytes()));
    std::erase_if(scans, [&](const WalScan& scan) { return scan.number < beneath.first_needed_log; });
    damage = FindDamage(scans);
  }
  for (const WalScan& scan : scans) {
    report->synced_sequence = std::max(report->synced_sequence, scan.synced_sequence);
    if (!damage && scan.records > 0) report->last_sequence = scan.next_sequence - 1;
  }
  if (!damage) return verdict;

  const bool was_on_disk = damage->sequence == 0 ? damage->records_behind : report->synced_sequence >= damage->sequence;
  verdict.state = was_on_disk ? WalVerdict::State::kRotten : WalVerdict::State::kTorn;
  verdict.damaged_file = damage->file;
  verdict.damaged_offset = damage->offset;
  verdict.place = fmt::format("{}, byte {}", scans[damage->file].path, damage->offset);
  report->dropped_from = verdict.place;
  report->dropped_bytes = scans[damage->file].bytes - damage->offset;
  for (size_t i = damage->file + 1; i < scans.size(); ++i) report->dropped_bytes += scans[i].bytes;
  if (damage->sequence != 0) report->last_sequence = damage->sequence - 1;
  return verdict;
}

absl::Status RecoverWal(const std::string& db_path, rocksdb::Env* env, OpenReport* report) {
  if (env == nullptr) env = rocksdb::Env::Default();
  ASSIGN_OR_RETURN(const WalVerdict verdict, JudgeWal(db_path, env, report));
  const ManifestVerdict& manifest = verdict.manifest;
  if (manifest.torn() && verdict.state != WalVerdict::State::kRotten) {
    RETURN_IF_ERROR(CutFile(db_path + "/" + manifest.manifest, manifest.intact_bytes));
  }
  switch (verdict.state) {
    case WalVerdict::State::kWhole:
      return absl::OkStatus();
    case WalVerdict::State::kRotten:
      return absl::DataLossError(fmt::format(
          "the write-ahead log is damaged: {}. Commits that were on disk and confirmed cannot be read{}. {}",
          verdict.place, DescribeReadableCommits(db_path, env, manifest), kDamageAdvice));
    case WalVerdict::State::kTorn:
      report->step = 3;
      return CutTail(verdict, db_path);
  }
  return absl::InternalError("no such state");
}

}  // namespace penstock::broker
