#include "broker/offline/repair.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <utility>

#include "absl/time/clock.h"
#include "broker/offline/report_text.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/rocksdb_store.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace penstock::broker {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kListedMax = 20;

std::string_view StateWord(State state) {
  switch (state) {
    case State::kScheduled:
      return "scheduled";
    case State::kRetryable:
      return "retryable";
    case State::kDead:
      return "dead";
    default:
      return "available";
  }
}

// Writes the lists as they come: there may be millions.
class Lists final : public RebuildListener {
 public:
  explicit Lists(RepairReport* report) : report_(*report), saved_(report->saved_list), lost_(report->lost_list) {}

  void OnSaved(const SavedTask& task) override {
    Json line;
    line["task_id"] = task.task.ToString();
    line["queue"] = std::string(task.queue);
    line["state"] = StateWord(task.state);
    if (!task.note.empty()) line["note"] = std::string(task.note);
    saved_ << line.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  }
  void OnLost(const LostTask& task) override {
    Json line;
    line["task_id"] = task.task.ToString();
    if (task.whole_block) line["whole_block"] = true;
    line["why"] = std::string(task.why);
    lost_ << line.dump() << "\n";
    if (task.whole_block) blocks_.insert(task.task.block());
    tasks_.insert(task.task);
    if (report_.first_lost.size() < kListedMax) {
      report_.first_lost.push_back(fmt::format("task {}{}: {}", task.task.ToString(),
                                               task.whole_block ? " and the others of its block" : "", task.why));
    }
  }
  // Blocks that were found damaged, and that nothing else told of.
  void AddDamagedBlocks() {
    for (const StorageDamage& damage : report_.salvage.damage) {
      if (damage.family != "blocks" || damage.task.empty()) continue;
      const bool told =
          blocks_.contains(damage.task.block()) ||
          std::any_of(tasks_.begin(), tasks_.end(), [&](TaskId task) { return task.block() == damage.task.block(); });
      if (told) continue;
      OnLost({damage.task, /*whole_block=*/true, damage.what});
      ++report_.rebuild.lost;
    }
  }
  // What was enqueued by commits of which nothing is left, nobody can name.
  void AddLostCommits() {
    for (const auto& [first, last] : report_.salvage.log_gaps) {
      Json line;
      line["commits"] = {{"first", first}, {"last", last}};
      line["why"] = "the write-ahead log has lost them";
      lost_ << line.dump() << "\n";
    }
  }
  absl::Status Close() {
    saved_.close();
    lost_.close();
    if (saved_ && lost_) return absl::OkStatus();
    return absl::UnavailableError(fmt::format("cannot write {} and {}", report_.saved_list, report_.lost_list));
  }

 private:
  RepairReport& report_;
  std::ofstream saved_;
  std::ofstream lost_;
  std::set<uint64_t> blocks_;
  std::set<TaskId> tasks_;
};

absl::StatusOr<std::unique_ptr<Store>> OpenNew(const std::string& path) {
  RocksDbStoreOptions options;
  options.path = path;
  return OpenRocksDbStore(options, nullptr);
}

absl::Status Repair(const std::string& from_db, DataDir& folder, const CoreOptions& options, RepairReport* report) {
  // First everything that can be read; then, from there, a store in which every key is put once.
  const std::string scratch = folder.path() + "/salvage.tmp";
  std::error_code error;
  std::filesystem::create_directories(scratch, error);
  if (error) return absl::UnavailableError(fmt::format("cannot make {}: {}", scratch, error.message()));
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<Store> salvaged, OpenNew(scratch + "/db"));
    ASSIGN_OR_RETURN(report->salvage, SalvageDb(from_db, scratch, salvaged.get()));
    ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenNew(folder.db_path()));
    Lists lists(report);
    ASSIGN_OR_RETURN(report->rebuild, RebuildStore(options, *salvaged, ToMicros(absl::Now()), store.get(), &lists));
    lists.AddDamagedBlocks();
    lists.AddLostCommits();
    RETURN_IF_ERROR(lists.Close());
  }
  std::filesystem::remove_all(scratch, error);
  ASSIGN_OR_RETURN(report->verified, VerifyFolder(folder, options));
  if (report->verified.damaged()) {
    return absl::InternalError(
        fmt::format("what was saved does not fit together; please report this:\n{}", ToText(report->verified)));
  }
  RETURN_IF_ERROR(folder.FinishNew());
  report->verified.format = folder.format();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RepairReport> RepairDataDir(const std::string& from, const std::string& to, const CoreOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<DataDir> source, DataDir::OpenReadOnly(from, /*damaged_too=*/true));
  std::error_code error;
  const bool existed = std::filesystem::exists(to, error);
  ASSIGN_OR_RETURN(std::unique_ptr<DataDir> folder, DataDir::CreateNew(to, source->instance()));
  const std::string path = folder->path();
  RepairReport report;
  report.from = source->path();
  report.to = path;
  report.saved_list = path + "/saved.jsonl";
  report.lost_list = path + "/lost.jsonl";
  const absl::Status status = Repair(source->db_path(), *folder, options, &report);
  folder.reset();
  if (status.ok()) return report;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    std::filesystem::remove_all(entry.path(), error);
  }
  if (!existed) std::filesystem::remove(path, error);
  return status;
}

std::string ToText(const RepairReport& report) {
  const SalvageReport& salvage = report.salvage;
  std::string out =
      fmt::format("saved      {} waiting and dead tasks, {} finished ones; see {}\n", FormatCount(report.rebuild.saved),
                  FormatCount(report.rebuild.finished), report.saved_list);
  out += fmt::format("lost       {} tasks or blocks of tasks{}; see {}\n", FormatCount(report.rebuild.lost),
                     salvage.log_gaps.empty() ? "" : ", and whole commits", report.lost_list);
  out += fmt::format("read       {} values, and {} commits of the log, {} of them behind its damage\n",
                     FormatCount(salvage.values), FormatCount(salvage.log_commits),
                     FormatCount(salvage.log_commits_behind));
  if (!salvage.log_damage.empty()) out += fmt::format("log        damaged at {}\n", salvage.log_damage);
  for (const auto& [first, last] : salvage.log_gaps) {
    out += fmt::format(
        "log        commits {} to {} are lost: what they enqueued is gone, what they finished may run "
        "again\n",
        first, last);
  }
  if (salvage.manifest_rebuilt) out += "files      RocksDB's list of files was made anew\n";
  if (!report.rebuild.state_known) {
    out +=
        fmt::format("state      {}: tasks that were finished or purged may wait again\n", report.rebuild.state_problem);
  }
  for (const std::string& name : report.rebuild.schedules_lost) out += fmt::format("schedule   {} is lost\n", name);
  for (const std::string& name : report.rebuild.schedules_paused) {
    out += fmt::format("schedule   {} is saved, not how far it was: it is paused until `penstock schedule resume`\n",
                       name);
  }
  out += fmt::format("epoch      the broker begins above {}, so that no id and no token comes twice\n",
                     report.rebuild.applied.epoch);
  for (const std::string& lost : report.first_lost) out += "  lost: " + lost + "\n";
  for (size_t i = 0; i < std::min(salvage.damage.size(), kListedMax); ++i) {
    const StorageDamage& damage = salvage.damage[i];
    out += fmt::format("  damaged: {}{}{}\n", damage.family.empty() ? "" : damage.family + " ",
                       damage.task.empty() ? damage.key : damage.task.ToString(),
                       (damage.family.empty() && damage.key.empty() ? "" : ": ") + damage.what);
  }
  if (salvage.damage.size() > kListedMax) out += "  ... -o json lists all damage\n";
  return out + "\n" + ToText(report.verified);
}

std::string ToJson(const RepairReport& report) {
  const SalvageReport& salvage = report.salvage;
  Json json;
  json["from"] = report.from;
  json["to"] = report.to;
  json["lossless"] = report.lossless();
  json["saved_tasks"] = report.rebuild.saved;
  json["lost_tasks"] = report.rebuild.lost;
  json["finished_tasks"] = report.rebuild.finished;
  json["saved_list"] = report.saved_list;
  json["lost_list"] = report.lost_list;
  json["values"] = salvage.values;
  json["log"] = {{"commits", salvage.log_commits},
                 {"commits_behind_damage", salvage.log_commits_behind},
                 {"damage", salvage.log_damage}};
  json["log"]["lost_commits"] = Json::array();
  for (const auto& [first, last] : salvage.log_gaps) {
    json["log"]["lost_commits"].push_back({{"first", first}, {"last", last}});
  }
  json["manifest_rebuilt"] = salvage.manifest_rebuilt;
  json["state_known"] = report.rebuild.state_known;
  json["state_problem"] = report.rebuild.state_problem;
  json["schedules_lost"] = report.rebuild.schedules_lost;
  json["schedules_paused"] = report.rebuild.schedules_paused;
  json["epoch_above"] = report.rebuild.applied.epoch;
  json["damage"] = Json::array();
  for (const StorageDamage& damage : salvage.damage) {
    json["damage"].push_back({{"file", damage.file},
                              {"family", damage.family},
                              {"key", damage.key},
                              {"task_id", damage.task.empty() ? "" : damage.task.ToString()},
                              {"what", damage.what}});
  }
  json["verified"] = Json::parse(ToJson(report.verified));
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace penstock::broker
