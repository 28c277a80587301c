#include "broker/storage/salvage.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/escaping.h"
#include "broker/storage/envelope.h"
#include "broker/storage/read_only_db.h"
#include "broker/storage/rocksdb_options.h"
#include "broker/storage/storage_files.h"
#include "broker/storage/tolerant_scan.h"
#include "broker/storage/wal_commits.h"
#include "broker/storage/wal_recovery.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"
#include "rocksdb/cache.h"
#include "rocksdb/env.h"
#include "rocksdb/sst_file_reader.h"

namespace penstock::broker {
namespace {

constexpr size_t kCommitBytes = 1 << 20;
constexpr size_t kCacheBytes = 16 << 20;

// Takes the entries that are right into the store.
class Collector final : public TolerantVisitor {
 public:
  Collector(Family family, Store* to, SalvageReport* report)
      : family_(family), name_(FamilyNames()[static_cast<size_t>(family)]), to_(*to), report_(*report) {}

  void OnEntry(std::string_view key, std::string_view value, bool checked) override {
    if (HasEnvelope(family_, key)) {
      if (const auto body = OpenValue(key, value); !body.ok()) {
        report_.damage.push_back({"", name_, absl::BytesToHexString(ToAbsl(key)), TaskOfKey(family_, key),
                                  std::string(body.status().message())});
        return;
      }
    } else if (!checked) {
      return;  // nothing vouches for it; what stands there is derived from elsewhere
    }
    ++report_.values;
    batch_.Put(family_, key, value);
    if (batch_.bytes() >= kCommitBytes) Flush().IgnoreError();  // the last one tells
  }
  void OnDamage(std::string_view after, std::string_view next, bool readable, const absl::Status& error) override {
    if (readable) return;  // entry by entry
    report_.damage.push_back(
        {"", name_, absl::BytesToHexString(ToAbsl(after)), TaskId(),
         fmt::format("nothing can be read behind this key{}: {}",
                     next.empty() ? "" : fmt::format(" and before {}", absl::BytesToHexString(ToAbsl(next))),
                     ToStd(error.message()))});
  }
  absl::Status Flush() {
    if (status_.ok()) status_ = to_.Commit(batch_, /*sync=*/false);
    batch_.Clear();
    return status_;
  }

 private:
  const Family family_;
  const std::string name_;
  Store& to_;
  SalvageReport& report_;
  CommitBatch batch_;
  absl::Status status_;
};

// Those that cannot even be opened. One of them in level 0 hides its whole family.
std::vector<StorageDamage> FindUnopenable(const std::vector<rocksdb::LiveFileMetaData>& files) {
  std::vector<StorageDamage> broken;
  rocksdb::Options options =
      rocksdb::Options(MakeReadOnlyDbOptions(rocksdb::Env::Default()), rocksdb::ColumnFamilyOptions());
  for (const rocksdb::LiveFileMetaData& file : files) {
    rocksdb::SstFileReader reader(options);
    if (const rocksdb::Status status = reader.Open(file.db_path + file.name); !status.ok()) {
      broken.push_back({file.name.substr(1), file.column_family_name, "", TaskId(),
                        "the file cannot be opened: " + status.ToString()});
    }
  }
  return broken;
}

// A database of the table files that can be opened, made anew in `copy` with RocksDB's own repair. `wanted`: their
// names, or empty for all. The originals are linked or copied, never written to.
absl::Status RebuildManifest(const std::string& db_path, const std::string& copy, const std::set<std::string>& wanted) {
  std::error_code error;
  std::filesystem::create_directories(copy, error);
  for (const auto& entry : std::filesystem::directory_iterator(db_path, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".sst" || (!wanted.empty() && !wanted.contains(name))) continue;
    std::error_code failed;
    const std::filesystem::path target = std::filesystem::path(copy) / name;
    std::filesystem::create_hard_link(entry.path(), target, failed);
    if (failed) std::filesystem::copy_file(entry.path(), target, failed);
    if (failed)
      return absl::UnavailableError(fmt::format("cannot copy {}: {}", entry.path().string(), failed.message()));
  }
  if (error) return absl::UnavailableError(fmt::format("cannot list {}: {}", db_path, error.message()));
  RocksDbStoreOptions options;
  const auto cache = rocksdb::NewLRUCache(kCacheBytes);
  rocksdb::DBOptions db_options = MakeDbOptions(options, cache);
  db_options.info_log = MakeReadOnlyDbOptions(nullptr).info_log;
  return ToStatus(rocksdb::RepairDB(copy, db_options, MakeFamilies(options, cache)));
}

// Opens what can be opened of the table files, anew from copies if need be.
absl::StatusOr<std::unique_ptr<ReadOnlyDb>> OpenTables(const std::string& db_path, const std::string& scratch,
                                                       SalvageReport* report) {
  std::set<std::string> wanted;
  ASSIGN_OR_RETURN(const std::vector<WalScan> logs, ScanWalFolder(db_path));
  const auto manifest = JudgeManifest(db_path, rocksdb::Env::Default(), logs);
  const auto open = [&]() -> absl::StatusOr<std::unique_ptr<ReadOnlyDb>> {
    if (!manifest.ok()) return manifest.status();
    ReadOnlyDb::Options options = ReadOnlyDb::Options::Of(*manifest);
    options.without_logs = true;
    return ReadOnlyDb::Open(db_path, nullptr, options);
  };
  absl::StatusOr<std::unique_ptr<ReadOnlyDb>> db = open();
  if (db.ok()) {
    std::vector<rocksdb::LiveFileMetaData> files;
    (*db)->db().GetLiveFilesMetaData(&files);
    const std::vector<StorageDamage> broken = FindUnopenable(files);
    if (broken.empty()) return db;
    report->damage.insert(report->damage.end(), broken.begin(), broken.end());
    for (const rocksdb::LiveFileMetaData& file : files) wanted.insert(file.name.substr(1));
    for (const StorageDamage& file : broken) wanted.erase(file.file);
  } else {
    report->damage.push_back(
        {"", "", "", TaskId(), "RocksDB cannot open the database: " + std::string(db.status().message())});
  }
  report->manifest_rebuilt = true;
  const std::string copy = scratch + "/tables";
  RETURN_IF_ERROR(Annotate(RebuildManifest(db_path, copy, wanted), "the table files cannot be listed anew"));
  return ReadOnlyDb::Open(copy, nullptr, {});
}

// Every whole commit of the logs. `needed`: see BeneathLogs::first_by_family; empty if that is not known.
absl::Status ReadLogs(const std::string& db_path, const std::map<uint32_t, uint64_t>& needed, Store* to,
                      SalvageReport* report) {
  ASSIGN_OR_RETURN(const std::vector<WalScan> scans, ScanWalFolder(db_path));
  bool damaged = false;
  uint64_t last = 0;
  for (const WalScan& scan : scans) {
    ASSIGN_OR_RETURN(const std::string content, ReadWholeFile(scan.path));
    absl::Status failed;
    ForEachWalRecord(content, /*damaged_too=*/true, [&](std::string_view payload, const WalRecordState& record) {
      LoggedCommit commit;
      if (record.damaged) {
        commit = ParseDamagedCommit(payload, [&](Family family, std::string_view key) {
          report->damage.push_back({scan.path, std::string(FamilyNames()[static_cast<size_t>(family)]),
                                    absl::BytesToHexString(ToAbsl(key)), TaskOfKey(family, key),
                                    "its value in the write-ahead log is damaged"});
        });
      } else {
        absl::StatusOr<LoggedCommit> parsed = ParseLoggedCommit(payload);
        if (!parsed.ok()) return true;
        commit = *std::move(parsed);
      }
      CommitBatch taken;
      failed = commit.writes.ForEach([&](const CommitBatch::Operation& operation) {
        // What a family has in its table files already must not be set back to an older state.
        const auto first = needed.find(static_cast<uint32_t>(operation.family));
        if (first != needed.end() && scan.number < first->second) return;
        switch (operation.kind) {
          case CommitBatch::Kind::kPut:
            taken.Put(operation.family, operation.key, operation.value);
            break;
          case CommitBatch::Kind::kDelete:
          case CommitBatch::Kind::kSingleDelete:  // the key may have been put twice here
            taken.Delete(operation.family, operation.key);
            break;
          case CommitBatch::Kind::kDeleteRange:
            taken.DeleteRange(operation.family, operation.key, operation.value);
            break;
        }
      });
      if (failed.ok()) failed = to->Commit(taken, /*sync=*/false);
      if (!failed.ok()) return false;
      if (!commit.applied) return true;
      ++report->log_commits;
      report->log_commits_behind += damaged || record.behind_damage;
      const uint64_t sequence = commit.applied->sequence;
      if (last != 0 && sequence > last + 1) report->log_gaps.emplace_back(last + 1, sequence - 1);
      last = std::max(last, sequence);
      return true;
    });
    RETURN_IF_ERROR(failed);
    if (scan.damaged() && !damaged) {
      damaged = true;
      report->log_damage = fmt::format("{}, byte {}", scan.path, scan.intact_bytes);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SalvageReport> SalvageDb(const std::string& db_path, const std::string& scratch, Store* to) {
  SalvageReport report;
  std::map<uint32_t, uint64_t> needed;
  if (auto beneath = LookBeneathLogs(db_path, rocksdb::Env::Default()); beneath.ok()) needed = beneath->first_by_family;
  const auto db = OpenTables(db_path, scratch, &report);
  if (db.ok()) {
    for (int family = 0; family < kFamilyCount; ++family) {
      Collector collector(static_cast<Family>(family), to, &report);
      TolerantScan((*db)->db(), (*db)->handle(static_cast<Family>(family)), &collector);
      RETURN_IF_ERROR(collector.Flush());
    }
  } else {
    report.damage.push_back({"", "", "", TaskId(), std::string(db.status().message())});
  }
  RETURN_IF_ERROR(ReadLogs(db_path, needed, to, &report));
  if (report.values + report.log_commits == 0) {
    return absl::DataLossError(fmt::format("nothing can be read in {}: restore a backup", db_path));
  }
  return report;
}

}  // namespace penstock::broker
