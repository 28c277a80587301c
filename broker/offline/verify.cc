#include "broker/offline/verify.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "broker/offline/report_text.h"
#include "broker/storage/read_only_store.h"
#include "common/status.h"
#include "common/units.h"
#include "common/version.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace penstock::broker {
namespace {

// What the text lists of each kind of damage; JSON has all.
constexpr size_t kListedMax = 20;

constexpr std::string_view kFamilies[] = {"meta", "blocks", "deltas", "tasks", "index", "history"};

std::string_view LogWord(StorageCheck::Log log) {
  switch (log) {
    case StorageCheck::Log::kWhole:
      return "whole";
    case StorageCheck::Log::kTorn:
      return "torn tail";
    case StorageCheck::Log::kRotten:
      return "damaged";
  }
  return "";
}

std::string Counted(size_t count, std::string_view thing) {
  return fmt::format("{} {}{}", FormatCount(count), thing, count == 1 ? "" : "s");
}

std::string DamageLine(const StorageDamage& damage) {
  std::string line = "  ";
  if (!damage.file.empty()) line += damage.file + ": ";
  if (!damage.family.empty()) line += fmt::format("family {}: ", damage.family);
  if (!damage.task.empty()) {
    line += fmt::format("{} {}: ", damage.family == "blocks" ? "block of task" : "task", damage.task.ToString());
  }
  if (!damage.key.empty() && damage.task.empty()) line += fmt::format("key {}: ", damage.key);
  return line + damage.what + "\n";
}

}  // namespace

absl::StatusOr<VerifyReport> VerifyDataDir(const std::string& path, const CoreOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<DataDir> folder, DataDir::OpenReadOnly(path));
  return VerifyFolder(*folder, options);
}

absl::StatusOr<VerifyReport> VerifyFolder(const DataDir& folder, const CoreOptions& options) {
  VerifyReport report;
  report.data_dir = folder.path();
  report.format = folder.format();
  report.instance = folder.instance();
  std::error_code error;
  report.has_database =
      std::filesystem::exists(folder.db_path(), error) && !std::filesystem::is_empty(folder.db_path(), error);
  if (!report.has_database) return report;
  ASSIGN_OR_RETURN(report.storage, CheckStorage(folder.db_path()));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store,
                   OpenReadOnlyStore(folder.db_path(), /*damaged_too=*/true, nullptr));
  report.audit = AuditStore(options, *store);
  return report;
}

std::string ToText(const VerifyReport& report) {
  std::string out = fmt::format("{}  {}\n", report.damaged() ? "DAMAGED" : "ok", report.data_dir);
  out += fmt::format("format     {}, instance {}\n", report.format, report.instance);
  if (!report.has_database) return out + "database   none: the broker's first start was cut short\n";
  const StorageCheck& storage = report.storage;
  const AuditReport& audit = report.audit;
  out += fmt::format("files      {}, {}\n", Counted(storage.files, "table file"), FormatSize(storage.file_bytes));
  out += fmt::format("log        {}, {}: {}", Counted(storage.open.wal_files, "file"),
                     FormatSize(storage.open.wal_bytes), LogWord(storage.log));
  if (storage.log == StorageCheck::Log::kTorn) {
    out += fmt::format("; the next start cuts {} off that nobody was promised",
                       Counted(storage.open.dropped_bytes, "byte"));
  }
  out += fmt::format("\nchain      {} of {} in the log follow each other\n", FormatCount(storage.commits_chained),
                     Counted(storage.commits_logged, "commit"));
  if (audit.applied.sequence > 0) {
    out += fmt::format("commit     {}, epoch {}, at {}\n", FormatCount(audit.applied.sequence), audit.applied.epoch,
                       FormatMicros(audit.applied.time_micros));
  }
  out += "values    ";
  for (int family = 0; family < kFamilyCount; ++family) {
    out += fmt::format(" {} {}", kFamilies[family], FormatCount(storage.values[static_cast<size_t>(family)]));
  }
  out += fmt::format("\nrecords    {}, {}, {}, {}, {}\n", Counted(audit.blocks, "block"),
                     Counted(audit.task_records, "task record"), Counted(audit.timers, "timer"),
                     Counted(audit.sessions, "session"), Counted(audit.schedules, "schedule"));
  if (!audit.queues.empty()) {
    size_t width = 5;
    for (const QueueCensus& queue : audit.queues) width = std::max(width, queue.name.size());
    out += fmt::format("\n{:<{}}  {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "QUEUE", width, "SCHEDULED",
                       "AVAILABLE", "RUNNING", "RETRYABLE", "DEAD", "COMPLETED", "CANCELLED");
    for (const QueueCensus& queue : audit.queues) {
      out +=
          fmt::format("{:<{}}  {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", queue.name, width, queue.scheduled,
                      queue.available, queue.running, queue.retryable, queue.dead, queue.completed, queue.cancelled);
    }
  }
  if (!storage.damage.empty())
    out += fmt::format("\n{} damaged in storage:\n", Counted(storage.damage.size(), "place"));
  for (size_t i = 0; i < std::min(storage.damage.size(), kListedMax); ++i) out += DamageLine(storage.damage[i]);
  if (storage.damage.size() > kListedMax) out += "  ... -o json lists all\n";
  if (!audit.findings.empty()) {
    out += fmt::format("\n{} not fit together:\n",
                       audit.findings.size() == 1 ? "1 thing does" : FormatCount(audit.findings.size()) + " things do");
  }
  for (size_t i = 0; i < std::min(audit.findings.size(), kListedMax); ++i) out += "  " + audit.findings[i].what + "\n";
  if (audit.findings.size() > kListedMax) out += "  ... -o json lists all\n";
  if (report.damaged()) {
    out += fmt::format(
        "\nKeep the folder as it is. Restore a backup (penstock-broker --restore), or save what can be read: "
        "penstock-broker --data-dir {} --repair --to NEW_FOLDER\n",
        report.data_dir);
  }
  return out;
}

std::string ToJson(const VerifyReport& report) {
  using Json = nlohmann::ordered_json;
  const StorageCheck& storage = report.storage;
  const AuditReport& audit = report.audit;
  Json json;
  json["data_dir"] = report.data_dir;
  json["verdict"] = report.damaged() ? "damaged" : "ok";
  json["version"] = kVersion;
  json["format"] = report.format;
  json["instance"] = report.instance;
  json["has_database"] = report.has_database;
  json["files"] = {{"count", storage.files}, {"bytes", storage.file_bytes}};
  json["log"] = {{"files", storage.open.wal_files},
                 {"bytes", storage.open.wal_bytes},
                 {"state", LogWord(storage.log)},
                 {"place", storage.open.dropped_from},
                 {"bytes_behind", storage.open.dropped_bytes},
                 {"commits", storage.commits_logged},
                 {"commits_chained", storage.commits_chained}};
  json["commit"] = {{"sequence", audit.applied.sequence},
                    {"epoch", audit.applied.epoch},
                    {"time", audit.applied.sequence == 0 ? "" : FormatMicros(audit.applied.time_micros)}};
  Json values;
  for (int family = 0; family < kFamilyCount; ++family) {
    values[std::string(kFamilies[family])] = storage.values[static_cast<size_t>(family)];
  }
  json["values"] = std::move(values);
  json["records"] = {{"types", audit.types},
                     {"sessions", audit.sessions},
                     {"blocks", audit.blocks},
                     {"task_records", audit.task_records},
                     {"timers", audit.timers},
                     {"unique_keys", audit.unique_keys},
                     {"request_ids", audit.request_ids},
                     {"history_records", audit.history_records},
                     {"schedules", audit.schedules}};
  json["queues"] = Json::array();
  for (const QueueCensus& queue : audit.queues) {
    json["queues"].push_back({{"queue", queue.name},
                              {"scheduled", queue.scheduled},
                              {"available", queue.available},
                              {"running", queue.running},
                              {"retryable", queue.retryable},
                              {"dead", queue.dead},
                              {"completed", queue.completed},
                              {"cancelled", queue.cancelled}});
  }
  json["damage"] = Json::array();
  for (const StorageDamage& damage : storage.damage) {
    json["damage"].push_back({{"file", damage.file},
                              {"family", damage.family},
                              {"key", damage.key},
                              {"task_id", damage.task.empty() ? "" : damage.task.ToString()},
                              {"what", damage.what}});
  }
  json["findings"] = Json::array();
  for (const AuditFinding& finding : audit.findings) {
    json["findings"].push_back(
        {{"task_id", finding.task.empty() ? "" : finding.task.ToString()}, {"what", finding.what}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace penstock::broker
