// What scripts can do with schedules. A cron expression is written with _ for spaces.

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "broker/core/schedule.h"
#include "common/units.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"
#include "tests/scenario/script.h"

namespace penstock::broker {
namespace {

Span SpanOf(const std::string& text) {
  const auto duration = ParseDuration(text);
  if (!duration.ok()) throw std::runtime_error("not a time: " + text);
  return ToMicros(*duration);
}

std::string LocalTime(Time time, const std::string& zone_name) {
  const auto zone = FindTimeZone(zone_name.empty() ? "UTC" : zone_name);
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*S%Ez", ToTime(time), zone.value_or(absl::UTCTimeZone()));
}

}  // namespace

bool Script::BuildScheduleCommand(const Words& words, std::vector<Command>* commands) {
  auto named = [&](const std::string& key, std::string otherwise = "") {
    auto found = words.named.find(key);
    return found == words.named.end() ? otherwise : found->second;
  };
  if (words.name == "schedules") {
    ListSchedulesCommand list{NewTicket("schedules"), named("after"), 100};
    if (words.named.contains("limit")) list.limit = static_cast<uint32_t>(std::stoul(named("limit")));
    commands->emplace_back(std::move(list));
    return true;
  }
  if (words.name != "schedule") return false;
  static const std::map<std::string, ScheduleVerb> kVerbs = {
      {"create", ScheduleVerb::kCreate}, {"update", ScheduleVerb::kUpdate}, {"get", ScheduleVerb::kGet},
      {"pause", ScheduleVerb::kPause},   {"resume", ScheduleVerb::kResume}, {"run", ScheduleVerb::kRunNow},
      {"delete", ScheduleVerb::kDelete}};
  ScheduleCommand command;
  command.ticket = NewTicket("schedule");
  command.verb = kVerbs.at(words.plain.at(0));
  command.name = words.plain.at(1);
  auto change = std::make_shared<ScheduleChange>();
  if (words.named.contains("cron") || words.named.contains("every")) {
    ScheduleTimes& times = change->times.emplace();
    times.cron = named("cron");
    std::replace(times.cron.begin(), times.cron.end(), '_', ' ');
    times.time_zone = named("zone");
    if (words.named.contains("every")) times.interval = SpanOf(named("every"));
    if (words.named.contains("start")) times.start = start_ + SpanOf(named("start"));
    if (words.named.contains("end")) times.end = start_ + SpanOf(named("end"));
  }
  if (command.verb == ScheduleVerb::kCreate || words.named.contains("q") || words.named.contains("size")) {
    ScheduledTask& task = change->task.emplace();
    task.queue = named("q", "mail");
    task.type = named("type", "send");
    task.unique_key = named("unique");
    task.labels = named("labels");  // one: "gpu:yes"
    if (!task.labels.empty()) task.labels.replace(task.labels.find(':'), 1, "=");
    if (words.named.contains("attempts"))
      task.retry_change.max_attempts = static_cast<uint32_t>(std::stoul(named("attempts")));
    v1::TaskSpec spec;
    spec.set_queue(task.queue);
    spec.set_type(task.type);
    spec.set_payload(std::string(std::stoul(named("size", "7")), 'x'));
    (*spec.mutable_headers())["trace"] = "of the template";
    task.spec = spec.SerializeAsString();
  }
  static const std::map<std::string, CatchUp> kCatchUps = {
      {"none", CatchUp::kNone}, {"one", CatchUp::kOne}, {"all", CatchUp::kAll}};
  static const std::map<std::string, Overlap> kOverlaps = {
      {"allow", Overlap::kAllow}, {"skip", Overlap::kSkip}, {"cancel", Overlap::kCancelPrevious}};
  if (words.named.contains("catch_up")) change->catch_up = kCatchUps.at(named("catch_up"));
  if (words.named.contains("overlap")) change->overlap = kOverlaps.at(named("overlap"));
  if (words.named.contains("within")) change->start_within = SpanOf(named("within"));
  if (words.named.contains("note")) change->note = named("note");
  if (words.named.contains("paused")) change->paused = named("paused") == "true";
  command.change = std::move(change);
  commands->emplace_back(std::move(command));
  return true;
}

std::string Script::TellSchedule(const ScheduleView& schedule) {
  const std::string& zone = schedule.definition->times.time_zone;
  std::string out = schedule.name;
  if (schedule.paused) {
    out += " paused";
  } else if (schedule.next == kNever) {
    out += " ended";
  } else {
    out += " next=" + LocalTime(schedule.next, zone);
  }
  if (!schedule.last_task.empty()) {
    out += fmt::format(" last={} {}", NameOf(schedule.last_task), LocalTime(schedule.last_tick, zone));
  }
  auto add = [&](std::string_view name, uint64_t value) {
    if (value != 0) out += fmt::format(" {}={}", name, value);
  };
  add("fired", schedule.fired_total);
  add("skipped", schedule.skipped_total);
  add("missed", schedule.missed_total);
  add("failed", schedule.failed_total);
  if (!schedule.definition->note.empty()) out += " note=" + schedule.definition->note;
  if (!schedule.error.empty()) out += " error: " + schedule.error;
  return out + "\n";
}

}  // namespace penstock::broker
