#include "broker/rpc/convert_schedule.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "broker/rpc/fields.h"
#include "broker/storage/labels.h"
#include "common/cron.h"
#include "common/status.h"
#include "common/text.h"
#include "common/ticks.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr int kNextTimes = 5;

struct CheckedTimes {
  ScheduleTimes times;
  Ticks ticks;  // as if the schedule were made now
};

absl::StatusOr<CheckedTimes> ToTimes(const FieldPath& at, const v1::ScheduleTimes& request, const ApiLimits& limits,
                                     Time now) {
  ScheduleTimes times;
  switch (request.when_case()) {
    case v1::ScheduleTimes::kCron: {
      const auto cron = Cron::Parse(request.cron());
      if (!cron.ok()) return BadField(FieldPath(at, "cron"), ToStd(cron.status().message()));
      times.cron = request.cron();
      times.time_zone = request.time_zone();
      if (times.time_zone.empty()) break;
      const auto zone = FindTimeZone(times.time_zone);
      if (!zone.ok()) return BadField(FieldPath(at, "time_zone"), ToStd(zone.status().message()));
      break;
    }
    case v1::ScheduleTimes::kInterval: {
      ASSIGN_OR_RETURN(times.interval, CheckSpan(FieldPath(at, "interval"), request.interval(), limits.interval_min,
                                                 limits.postpone_max));
      if (!request.time_zone().empty()) {
        return BadField(FieldPath(at, "time_zone"), "goes with cron; an interval is the same in every time zone");
      }
      break;
    }
    case v1::ScheduleTimes::WHEN_NOT_SET:
      return BadField(at, "needs cron or interval");
  }
  if (request.has_start_time()) {
    const FieldPath field(at, "start_time");
    ASSIGN_OR_RETURN(times.start, CheckTime(field, request.start_time()));
    if (times.start <= 0) return BadField(field, "must be after 1970-01-01T00:00:00Z");
    if (times.start > now + limits.start_max) return BadField(field, "is more than 100 years ahead");
  }
  if (request.has_end_time()) {
    const FieldPath field(at, "end_time");
    ASSIGN_OR_RETURN(times.end, CheckTime(field, request.end_time()));
    if (times.end <= times.start) return BadField(field, "must be after start_time, or 1970-01-01T00:00:00Z");
    if (times.end <= now) return BadField(field, "has passed; give a time to come, or none");
  }
  ASSIGN_OR_RETURN(Ticks ticks, Ticks::Make(ToTickSpec(times, times.start != 0 ? times.start : now)));
  if (!ticks.Next(ToTime(now))) {
    if (!request.has_end_time()) return BadField(FieldPath(at, "cron"), "has no tick after start_time");
    return BadField(FieldPath(at, "end_time"), "comes before the first tick; give a later one, or none");
  }
  return CheckedTimes{std::move(times), std::move(ticks)};
}

absl::StatusOr<ScheduledTask> ToScheduledTask(const FieldPath& at, const v1::TaskSpec& spec, const ApiLimits& limits,
                                              Time now) {
  if (spec.has_run_at()) return BadField(FieldPath(at, "run_at"), "must be left out: the schedule's times say when");
  if (spec.has_delay()) return BadField(FieldPath(at, "delay"), "must be left out: the schedule's times say when");
  if (spec.has_expire_at()) {
    return BadField(FieldPath(at, "expire_at"), "must be left out: start_within says how long a task may wait");
  }
  if (spec.has_start_within()) {
    return BadField(FieldPath(at, "start_within"), "must be left out: the schedule's own start_within says it");
  }
  ASSIGN_OR_RETURN(const NewTask checked, ToTask(at, spec, limits, now));
  ScheduledTask task;
  task.queue = checked.queue;
  task.type = checked.type;
  task.priority = checked.priority;
  task.run_timeout = checked.run_timeout;
  task.life_timeout = checked.life_timeout;
  task.retry_change = checked.retry_change;
  task.unique_key = checked.unique_key;
  task.unique_window = checked.unique_window;
  task.unique_waiting = checked.unique_waiting;
  task.unique_conflict = checked.unique_conflict;
  task.key = checked.key;
  task.group = checked.group;
  task.cost = checked.cost;
  task.result_retention = checked.result_retention;
  task.labels = LabelText(spec.worker_labels());
  task.spec = spec.SerializeAsString();
  return task;
}

// What a new schedule and a changed one have in common. `parent`: where the fields stand; null: in the request itself.
template <class Request>
absl::Status ReadPolicies(const FieldPath* parent, const Request& request, const ApiLimits& limits,
                          ScheduleChange* change) {
  const auto at = [parent](std::string_view name) { return FieldPath(parent, name); };
  if (request.has_start_within()) {
    ASSIGN_OR_RETURN(change->start_within,
                     CheckSpan(at("start_within"), request.start_within(), 0, limits.postpone_max));
    if (*change->start_within != 0 && *change->start_within < kMilli) {
      return BadField(at("start_within"), "must be at least 1 ms, or 0 for none");
    }
  }
  if (request.catch_up() != v1::CATCH_UP_UNSPECIFIED) {
    if (!v1::CatchUp_IsValid(request.catch_up())) {
      return BadField(at("catch_up"), fmt::format("{} is no catch-up policy; valid are none, one and all",
                                                  static_cast<int>(request.catch_up())));
    }
    change->catch_up = static_cast<CatchUp>(request.catch_up());
  }
  if (request.overlap() != v1::OVERLAP_UNSPECIFIED) {
    if (!v1::Overlap_IsValid(request.overlap())) {
      return BadField(at("overlap"), fmt::format("{} is no overlap policy; valid are allow, skip and cancel previous",
                                                 static_cast<int>(request.overlap())));
    }
    change->overlap = static_cast<Overlap>(request.overlap());
  }
  RETURN_IF_ERROR(CheckSize(at("note"), request.note(), 0, limits.text));
  return absl::OkStatus();
}

// Those after the next.
void AddNextTimes(const ScheduleView& schedule, v1::Schedule* out) {
  const auto ticks = Ticks::Make(ToTickSpec(schedule.definition->times, schedule.anchor));
  if (!ticks.ok()) return;
  auto next = ticks->Next(ToTime(schedule.next));
  for (; next && out->next_times_size() < kNextTimes; next = ticks->Next(*next)) {
    SetTimestamp(ToMicros(*next), out->add_next_times());
  }
}

Sized<ScheduleCommand> Finish(ScheduleVerb verb, const std::string& name, ScheduleChange change) {
  Sized<ScheduleCommand> sized;
  sized.command.verb = verb;
  sized.command.name = name;
  sized.bytes = sizeof(ScheduleCommand) + sizeof(ScheduleChange) + (change.task ? change.task->bytes() : 0) +
                (change.note ? change.note->size() : 0);
  sized.command.change = std::make_shared<const ScheduleChange>(std::move(change));
  return sized;
}

}  // namespace

absl::StatusOr<Sized<ScheduleCommand>> ToCommand(const v1::CreateScheduleRequest& request, const ApiLimits& limits,
                                                 Time now) {
  const FieldPath at("schedule");
  const v1::Schedule& schedule = request.schedule();
  RETURN_IF_ERROR(CheckName(FieldPath(at, "name"), schedule.name(), limits.name));
  ScheduleChange change;
  ASSIGN_OR_RETURN(CheckedTimes checked, ToTimes(FieldPath(at, "times"), schedule.times(), limits, now));
  change.times = std::move(checked.times);
  ASSIGN_OR_RETURN(change.task, ToScheduledTask(FieldPath(at, "task"), schedule.task(), limits, now));
  RETURN_IF_ERROR(ReadPolicies(&at, schedule, limits, &change));
  change.note = schedule.note();
  change.paused = schedule.paused();
  return Finish(ScheduleVerb::kCreate, schedule.name(), std::move(change));
}

absl::StatusOr<Sized<ScheduleCommand>> ToCommand(const v1::UpdateScheduleRequest& request, const ApiLimits& limits,
                                                 Time now) {
  RETURN_IF_ERROR(CheckName(FieldPath("name"), request.name(), limits.name));
  ScheduleChange change;
  if (request.has_times()) {
    ASSIGN_OR_RETURN(CheckedTimes checked, ToTimes(FieldPath("times"), request.times(), limits, now));
    change.times = std::move(checked.times);
  }
  if (request.has_task()) {
    ASSIGN_OR_RETURN(change.task, ToScheduledTask(FieldPath("task"), request.task(), limits, now));
  }
  RETURN_IF_ERROR(ReadPolicies(nullptr, request, limits, &change));
  if (request.has_note()) change.note = request.note();
  return Finish(ScheduleVerb::kUpdate, request.name(), std::move(change));
}

absl::StatusOr<ScheduleCommand> ToScheduleCommand(ScheduleVerb verb, std::string_view name, const ApiLimits& limits) {
  return ToNamedCommand<ScheduleCommand>(verb, name, limits);
}

absl::StatusOr<ListSchedulesCommand> ToCommand(const v1::ListSchedulesRequest& request, const ApiLimits& limits) {
  return ToNamePage<ListSchedulesCommand>(request, "ListSchedules", limits);
}

absl::StatusOr<std::vector<Time>> PreviewTicks(const v1::PreviewScheduleRequest& request, const ApiLimits& limits,
                                               Time now) {
  uint32_t count = limits.previewed_ticks_default;
  if (request.count() != 0) {
    RETURN_IF_ERROR(CheckNumber(FieldPath("count"), request.count(), 1, limits.previewed_ticks));
    count = static_cast<uint32_t>(request.count());
  }
  Time after = now;
  if (request.has_after()) {
    const FieldPath field("after");
    ASSIGN_OR_RETURN(after, CheckTime(field, request.after()));
    if (after < 0 || after > now + limits.start_max) return BadField(field, "must be from 1970 to 100 years ahead");
  }
  ASSIGN_OR_RETURN(const CheckedTimes checked, ToTimes(FieldPath("times"), request.times(), limits, now));
  std::vector<Time> ticks;
  for (auto next = checked.ticks.Next(ToTime(after)); next && ticks.size() < count; next = checked.ticks.Next(*next)) {
    ticks.push_back(ToMicros(*next));
  }
  return ticks;
}

void ToProto(const ScheduleView& schedule, ScheduleDetail detail, v1::Schedule* out) {
  const ScheduleDefinition& definition = *schedule.definition;
  out->set_name(schedule.name);
  const ScheduleTimes& times = definition.times;
  if (times.cron.empty()) {
    SetDuration(times.interval, out->mutable_times()->mutable_interval());
  } else {
    out->mutable_times()->set_cron(times.cron);
    out->mutable_times()->set_time_zone(times.time_zone.empty() ? "UTC" : times.time_zone);
  }
  if (times.start != 0) SetTimestamp(times.start, out->mutable_times()->mutable_start_time());
  if (times.end != kNever) SetTimestamp(times.end, out->mutable_times()->mutable_end_time());
  out->mutable_task()->ParseFromString(definition.task.spec);
  if (detail == ScheduleDetail::kInList) {
    out->mutable_task()->clear_payload();
    out->mutable_task()->clear_headers();
  }
  if (definition.start_within > 0) SetDuration(definition.start_within, out->mutable_start_within());
  out->set_catch_up(static_cast<v1::CatchUp>(definition.catch_up));
  out->set_overlap(static_cast<v1::Overlap>(definition.overlap));
  out->set_note(definition.note);
  out->set_paused(schedule.paused);
  SetTimestamp(schedule.create_time, out->mutable_create_time());
  SetTimestamp(schedule.update_time, out->mutable_update_time());
  if (schedule.next != kNever) {
    SetTimestamp(schedule.next, out->add_next_times());
    if (detail == ScheduleDetail::kAll) AddNextTimes(schedule, out);
  }
  if (schedule.last_tick != 0) SetTimestamp(schedule.last_tick, out->mutable_last_tick_time());
  if (!schedule.last_task.empty()) out->set_last_task_id(schedule.last_task.ToString());
  out->set_fired_total(schedule.fired_total);
  out->set_skipped_total(schedule.skipped_total);
  out->set_missed_total(schedule.missed_total);
  out->set_failed_total(schedule.failed_total);
  out->set_error(schedule.error);
  if (schedule.error_time != 0) SetTimestamp(schedule.error_time, out->mutable_error_time());
}

}  // namespace penstock::broker
