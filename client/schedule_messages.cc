#include "client/schedule_messages.h"

#include <utility>

#include "client/proto_time.h"
#include "client/task_spec.h"
#include "common/status.h"
#include "common/status_details.h"

namespace penstock {
namespace {

absl::Status FillTask(NewTask task, v1::TaskSpec* out) {
  if (task.options.delay != absl::ZeroDuration()) return InvalidField("task.delay", "the schedule's times say when");
  if (task.options.timeout != absl::ZeroDuration()) return InvalidField("task.timeout", "is not for schedules");
  return FillTaskSpec(std::move(task), out);
}

}  // namespace

absl::Status FillTimes(const ScheduleTimes& times, v1::ScheduleTimes* out) {
  if (times.cron.empty() == (times.interval == absl::ZeroDuration())) {
    return InvalidField("times", "needs cron or interval, and not both");
  }
  if (times.cron.empty()) {
    SetProto(times.interval, out->mutable_interval());
  } else {
    out->set_cron(times.cron);
  }
  out->set_time_zone(times.time_zone);
  if (times.start_time) SetProto(*times.start_time, out->mutable_start_time());
  if (times.end_time) SetProto(*times.end_time, out->mutable_end_time());
  return absl::OkStatus();
}

absl::StatusOr<v1::CreateScheduleRequest> ToRequest(NewSchedule schedule) {
  v1::CreateScheduleRequest request;
  v1::Schedule* out = request.mutable_schedule();
  out->set_name(schedule.name);
  RETURN_IF_ERROR(FillTimes(schedule.times, out->mutable_times()));
  RETURN_IF_ERROR(FillTask(std::move(schedule.task), out->mutable_task()));
  if (schedule.start_within != absl::ZeroDuration()) SetProto(schedule.start_within, out->mutable_start_within());
  out->set_catch_up(static_cast<v1::CatchUp>(schedule.catch_up));
  out->set_overlap(static_cast<v1::Overlap>(schedule.overlap));
  out->set_note(schedule.note);
  out->set_paused(schedule.paused);
  return request;
}

absl::StatusOr<v1::UpdateScheduleRequest> ToRequest(const std::string& name, ScheduleChange change) {
  v1::UpdateScheduleRequest request;
  request.set_name(name);
  if (change.times) RETURN_IF_ERROR(FillTimes(*change.times, request.mutable_times()));
  if (change.task) RETURN_IF_ERROR(FillTask(*std::move(change.task), request.mutable_task()));
  if (change.start_within) SetProto(*change.start_within, request.mutable_start_within());
  if (change.catch_up) request.set_catch_up(static_cast<v1::CatchUp>(*change.catch_up));
  if (change.overlap) request.set_overlap(static_cast<v1::Overlap>(*change.overlap));
  if (change.note) request.set_note(*change.note);
  return request;
}

ScheduleInfo ToScheduleInfo(v1::Schedule schedule) {
  ScheduleInfo info;
  info.name = schedule.name();
  const v1::ScheduleTimes& times = schedule.times();
  info.times.cron = times.cron();
  info.times.time_zone = times.time_zone();
  if (times.has_interval()) info.times.interval = FromProto(times.interval());
  if (times.has_start_time()) info.times.start_time = FromProto(times.start_time());
  if (times.has_end_time()) info.times.end_time = FromProto(times.end_time());
  info.queue = schedule.task().queue();
  info.type = schedule.task().type();
  info.payload = std::move(*schedule.mutable_task()->mutable_payload());
  if (schedule.has_start_within()) info.start_within = FromProto(schedule.start_within());
  info.catch_up = static_cast<CatchUp>(schedule.catch_up());
  info.overlap = static_cast<Overlap>(schedule.overlap());
  info.note = schedule.note();
  info.paused = schedule.paused();
  info.next_times = ToTimes(schedule.next_times());
  if (schedule.has_last_tick_time()) info.last_tick_time = FromProto(schedule.last_tick_time());
  if (const auto task = TaskId::Parse(schedule.last_task_id()); task) info.last_task = *task;
  info.fired_total = schedule.fired_total();
  info.skipped_total = schedule.skipped_total();
  info.missed_total = schedule.missed_total();
  info.failed_total = schedule.failed_total();
  info.error = schedule.error();
  return info;
}

std::vector<absl::Time> ToTimes(const google::protobuf::RepeatedPtrField<google::protobuf::Timestamp>& times) {
  std::vector<absl::Time> out;
  out.reserve(static_cast<size_t>(times.size()));
  for (const auto& time : times) out.push_back(FromProto(time));
  return out;
}

}  // namespace penstock
