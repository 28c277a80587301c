#include "broker/storage/manifest_recovery.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "broker/storage/read_only_db.h"
#include "broker/storage/storage_files.h"
#include "broker/storage/store.h"
#include "common/crc32c.h"
#include "common/status.h"
#include "fmt/format.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/transaction_log.h"

namespace penstock::broker {
namespace {

constexpr std::string_view kSyncedFile = "SYNCED.penstock";
constexpr std::string_view kManifestHead = "MANIFEST-";

struct SyncedManifest {
  std::string manifest;
  uint64_t bytes = 0;
  uint64_t first_log = 0;  // the first log that this life wrote

  std::string Encode() const {
    const std::string text = fmt::format("manifest={} bytes={} first_log={}", manifest, bytes, first_log);
    return fmt::format("{} check={:08x}\n", text, Crc32c(text));
  }
};

// What the file says of `manifest`; nullopt if it is missing, damaged or about another.
std::optional<SyncedManifest> ReadSynced(const std::string& db_path, const std::string& manifest) {
  const absl::StatusOr<std::string> text = ReadWholeFile(fmt::format("{}/{}", db_path, kSyncedFile));
  if (!text.ok()) return std::nullopt;
  SyncedManifest synced;
  synced.manifest = manifest;
  for (const absl::string_view part : absl::StrSplit(*text, ' ')) {
    const std::vector<std::string> field = absl::StrSplit(part, '=');
    uint64_t* const number = field[0] == "bytes"       ? &synced.bytes
                             : field[0] == "first_log" ? &synced.first_log
                                                       : nullptr;
    if (number != nullptr && (field.size() != 2 || !absl::SimpleAtoi(field[1], number))) return std::nullopt;
  }
  // Understood only if it is exactly what would be written.
  if (*text != synced.Encode()) return std::nullopt;
  return synced;
}

// The name in CURRENT; empty if there is no such file.
absl::StatusOr<std::string> CurrentManifest(const std::string& db_path) {
  const std::string file = db_path + "/CURRENT";
  ASSIGN_OR_RETURN(const bool exists, FileExists(file));
  if (!exists) return std::string();
  ASSIGN_OR_RETURN(std::string name, ReadWholeFile(file));
  uint64_t number = 0;
  const bool sound =
      !name.empty() && name.back() == '\n' && name.rfind(kManifestHead, 0) == 0 &&
      absl::SimpleAtoi(name.substr(kManifestHead.size(), name.size() - kManifestHead.size() - 1), &number);
  if (!sound) return absl::DataLossError(fmt::format("{} is damaged. {}", file, kDamageAdvice));
  name.pop_back();
  ASSIGN_OR_RETURN(const bool named_exists, FileExists(db_path + "/" + name));
  if (!named_exists) {
    return absl::DataLossError(fmt::format("{} names the file {}, which is not there. {}", file, name, kDamageAdvice));
  }
  return name;
}

bool AnyData(const std::string& db_path, const std::vector<WalScan>& logs) {
  const bool records = std::any_of(logs.begin(), logs.end(), [](const WalScan& scan) {
    return scan.records + scan.records_behind > 0 || scan.damaged();
  });
  if (records) return true;
  std::error_code error;
  for (std::filesystem::directory_iterator it(db_path, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".sst") return true;
  }
  return static_cast<bool>(error);
}

// Whether nothing is lost without the edits from `intact` on.
bool MayBeCut(const std::string& db_path, rocksdb::Env* env, const std::string& manifest, uint64_t intact,
              const std::vector<WalScan>& logs) {
  const std::optional<SyncedManifest> synced = ReadSynced(db_path, manifest);
  // Not even the first start has come to its end.
  if (!synced && !AnyData(db_path, logs)) return true;
  if (!synced || intact < synced->bytes) return false;
  // RocksDB looks whether all data files that it needs are there, and as long as they should be.
  const absl::StatusOr<BeneathLogs> without = LookBeneathLogs(db_path, env, manifest, intact);
  if (!without.ok() || without->families < kFamilyCount) return false;
  auto has = [&](uint64_t number) {
    return std::any_of(logs.begin(), logs.end(), [&](const WalScan& scan) { return scan.number == number; });
  };
  // Of the logs the first that is needed is there; the scan sees to those behind it. As long as none of this life's was
  // given up, the number is that of no file.
  return has(without->min_log_to_keep) || (without->min_log_to_keep <= synced->first_log && has(synced->first_log));
}

}  // namespace

absl::StatusOr<ManifestVerdict> JudgeManifest(const std::string& db_path, rocksdb::Env* env,
                                              const std::vector<WalScan>& logs) {
  ManifestVerdict verdict;
  ASSIGN_OR_RETURN(verdict.manifest, CurrentManifest(db_path));
  if (verdict.manifest.empty()) return verdict;
  const std::string path = db_path + "/" + verdict.manifest;
  ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(path));
  verdict.bytes = content.size();
  verdict.intact_bytes = IntactLogBytes(content);
  if (!verdict.torn() || MayBeCut(db_path, env, verdict.manifest, verdict.intact_bytes, logs)) return verdict;
  return absl::DataLossError(fmt::format("{} is damaged at byte {}, where it had been on disk. {}", path,
                                         verdict.intact_bytes, kDamageAdvice));
}

absl::Status NoteSyncedManifest(const std::string& db_path, rocksdb::Env* env, rocksdb::DB* db) {
  SyncedManifest synced;
  std::vector<std::string> files;
  // Of the MANIFEST, what is synced.
  rocksdb::Status status = db->GetLiveFiles(files, &synced.bytes, /*flush_memtable=*/false);
  for (const std::string& file : files) {
    const std::string name = std::filesystem::path(file).filename().string();
    if (name.rfind(kManifestHead, 0) == 0) synced.manifest = name;
  }
  std::unique_ptr<rocksdb::LogFile> log;
  if (status.ok()) status = db->GetCurrentWalFile(&log);
  if (!status.ok() || synced.manifest.empty()) {
    return absl::UnavailableError(fmt::format("cannot tell what is synced in {}: {}", db_path, status.ToString()));
  }
  synced.first_log = log->LogNumber();
  return ReplaceFile(env, db_path, std::string(kSyncedFile), synced.Encode());
}

}  // namespace penstock::broker
