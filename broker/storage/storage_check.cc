#include "broker/storage/storage_check.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "broker/storage/envelope.h"
#include "broker/storage/read_only_db.h"
#include "broker/storage/rocksdb_options.h"
#include "broker/storage/storage_files.h"
#include "broker/storage/tolerant_scan.h"
#include "broker/storage/wal_commits.h"
#include "broker/storage/wal_recovery.h"
#include "common/coding.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"
#include "rocksdb/env.h"
#include "rocksdb/sst_file_reader.h"

namespace penstock::broker {
namespace {

std::string Hex(std::string_view bytes) { return absl::BytesToHexString(ToAbsl(bytes)); }

class ValueChecker final : public TolerantVisitor {
 public:
  ValueChecker(Family family, StorageCheck* check)
      : family_(family), name_(FamilyNames()[static_cast<size_t>(family)]), check_(check) {}

  void OnEntry(std::string_view key, std::string_view value, bool) override {
    ++check_->values[static_cast<size_t>(family_)];
    if (!HasEnvelope(family_, key)) return;
    const auto body = OpenValue(key, value);
    if (body.ok()) return;
    check_->damage.push_back({"", name_, Hex(key), TaskOfKey(family_, key), ToText(body.status())});
  }
  void OnDamage(std::string_view after, std::string_view next, bool readable, const absl::Status& error) override {
    check_->damage.push_back({"", name_, Hex(after), TaskId(),
                              fmt::format("a block behind this key is damaged{}: {}",
                                          readable       ? ""
                                          : next.empty() ? ", nothing behind it can be read"
                                                         : fmt::format(" and cannot be read up to {}", Hex(next)),
                                          ToText(error))});
  }

 private:
  static std::string ToText(const absl::Status& status) { return std::string(status.message()); }

  const Family family_;
  const std::string name_;
  StorageCheck* const check_;
};

// RocksDB's checksums, file by file: a read of values alone would not meet what lies beside them.
void CheckFiles(const ReadOnlyDb& db, StorageCheck* check) {
  std::vector<rocksdb::LiveFileMetaData> files;
  db.db().GetLiveFilesMetaData(&files);
  rocksdb::Options options;
  options.info_log = db.db().GetDBOptions().info_log;
  for (const rocksdb::LiveFileMetaData& file : files) {
    ++check->files;
    check->file_bytes += file.size;
    rocksdb::SstFileReader reader(options);
    rocksdb::Status status = reader.Open(file.db_path + file.name);
    if (status.ok()) status = reader.VerifyChecksum();
    if (status.ok()) continue;
    check->damage.push_back(
        {file.name.substr(1), file.column_family_name, "", TaskId(), std::string(ToStatus(status).message())});
  }
}

absl::Status CheckLog(const WalVerdict& verdict, StorageCheck* check) {
  check->log = verdict.state == WalVerdict::State::kWhole  ? StorageCheck::Log::kWhole
               : verdict.state == WalVerdict::State::kTorn ? StorageCheck::Log::kTorn
                                                           : StorageCheck::Log::kRotten;
  if (verdict.state == WalVerdict::State::kRotten) {
    check->damage.push_back({verdict.place, "", "", TaskId(),
                             "the write-ahead log is damaged: commits that were on disk and confirmed cannot be read"});
  }
  std::optional<Applied> previous;
  for (const WalScan& scan : verdict.scans) {
    ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(scan.path));
    ForEachLoggedCommit(content, [&](const LoggedCommit& commit) {
      ++check->commits_logged;
      // A restore writes the last commit again, with a higher epoch.
      const bool restored = previous && commit.applied->sequence == previous->sequence &&
                            commit.applied->hash == previous->hash && commit.applied->epoch > previous->epoch;
      if (!previous || restored || commit.Follows(*previous)) {
        ++check->commits_chained;
      } else if (verdict.state == WalVerdict::State::kWhole) {
        check->damage.push_back({scan.path, "", "", TaskId(),
                                 fmt::format("commit {} in the write-ahead log does not follow commit {}: its chain of "
                                             "hashes is broken",
                                             commit.applied->sequence, previous->sequence)});
      }
      previous = *commit.applied;
      return true;
    });
  }
  return absl::OkStatus();
}

}  // namespace

bool HasEnvelope(Family family, std::string_view key) {
  if (family != Family::kIndex || key.size() < 2) return true;
  return key[1] != 'E' && key[1] != 'D' && key[1] != 'R';
}

TaskId TaskOfKey(Family family, std::string_view key) {
  if (key.size() < 9) return TaskId();
  Decoder decoder(key);
  const uint8_t partition = decoder.Byte();
  if (family == Family::kTasks) return TaskId(decoder.Big64());
  if (family == Family::kBlocks) return TaskId(partition, decoder.Big64(), 0);
  if (family != Family::kIndex) return TaskId();
  switch (key[1]) {
    case 'T':
    case 'D':
    case 'R': {
      Decoder tail(key.substr(key.size() - 8));
      return TaskId(tail.Big64());
    }
    default:
      return TaskId();
  }
}

absl::StatusOr<StorageCheck> CheckStorage(const std::string& db_path) {
  StorageCheck check;
  ASSIGN_OR_RETURN(const WalVerdict verdict, JudgeWal(db_path, rocksdb::Env::Default(), &check.open));
  ReadOnlyDb::Options options = ReadOnlyDb::Options::Of(verdict.manifest);
  auto opened = ReadOnlyDb::Open(db_path, nullptr, options);
  options.without_logs = true;
  if (!opened.ok() && verdict.state == WalVerdict::State::kRotten) opened = ReadOnlyDb::Open(db_path, nullptr, options);
  if (!opened.ok()) return opened.status();
  const ReadOnlyDb& db = **opened;
  CheckFiles(db, &check);
  RETURN_IF_ERROR(CheckLog(verdict, &check));
  for (int family = 0; family < kFamilyCount; ++family) {
    ValueChecker checker(static_cast<Family>(family), &check);
    TolerantScan(db.db(), db.handle(static_cast<Family>(family)), &checker);
  }
  return check;
}

}  // namespace penstock::broker
