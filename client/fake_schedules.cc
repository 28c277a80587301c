#include "client/fake_schedules.h"

#include "client/schedule_messages.h"
#include "common/cron.h"
#include "common/names.h"
#include "common/status.h"
#include "common/status_details.h"
#include "common/text.h"
#include "common/ticks.h"

namespace penstock {
namespace {

constexpr int kNextTimes = 5;

}  // namespace

absl::StatusOr<std::vector<absl::Time>> FakeSchedules::TicksOf(const std::string& field, const ScheduleTimes& times,
                                                               int count) {
  v1::ScheduleTimes checked;  // refuses what the real client would
  RETURN_IF_ERROR(FillTimes(times, &checked));
  const absl::Time now = absl::Now();
  TickSpec spec;
  spec.cron = times.cron;
  spec.time_zone = times.time_zone;
  spec.interval = times.interval;
  spec.anchor = times.start_time.value_or(now);
  if (times.start_time) spec.start = *times.start_time;
  if (times.end_time) spec.end = *times.end_time;
  if (times.cron.empty() && (times.interval < absl::Seconds(1) || times.interval > absl::Hours(24 * 365))) {
    return InvalidField(field + ".interval", "must be 1 s to 365 days");
  }
  if (!times.cron.empty()) {
    if (const auto cron = Cron::Parse(times.cron); !cron.ok()) {
      return InvalidField(field + ".cron", ToStd(cron.status().message()));
    }
  }
  const auto made = Ticks::Make(std::move(spec));
  if (!made.ok()) return InvalidField(field + ".time_zone", ToStd(made.status().message()));
  std::vector<absl::Time> ticks;
  for (auto next = made->Next(now); next && ticks.size() < static_cast<size_t>(count); next = made->Next(*next)) {
    ticks.push_back(*next);
  }
  if (ticks.empty()) return InvalidField(field + ".end_time", "comes before the first tick");
  return ticks;
}

absl::StatusOr<FakeSchedules::Kept*> FakeSchedules::FindLocked(const std::string& name) {
  auto found = schedules_.find(name);
  if (found == schedules_.end()) return absl::NotFoundError("there is no schedule " + name);
  return &found->second;
}

absl::StatusOr<ScheduleInfo> FakeSchedules::Create(NewSchedule schedule) {
  const NewTask task = schedule.task;
  if (const std::string problem = ProblemOfName(schedule.name); !problem.empty()) {
    return InvalidField("schedule.name", problem);
  }
  ASSIGN_OR_RETURN(v1::CreateScheduleRequest request, ToRequest(std::move(schedule)));
  ScheduleInfo info = ToScheduleInfo(std::move(*request.mutable_schedule()));
  ASSIGN_OR_RETURN(info.next_times, TicksOf("schedule.times", info.times, kNextTimes));
  if (info.paused) info.next_times.clear();
  MutexLock lock(mu_);
  const auto [made, added] = schedules_.try_emplace(info.name, Kept{task, info});
  if (!added) return absl::AlreadyExistsError("schedule " + info.name + " exists already");
  return made->second.info;
}

absl::StatusOr<ScheduleInfo> FakeSchedules::Update(const std::string& name, ScheduleChange change) {
  RETURN_IF_ERROR(ToRequest(name, change).status());
  std::vector<absl::Time> next_times;
  if (change.times) {
    ASSIGN_OR_RETURN(next_times, TicksOf("times", *change.times, kNextTimes));
  }
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(Kept * kept, FindLocked(name));
  ScheduleInfo& info = kept->info;
  if (change.times) {
    info.times = *change.times;
    if (!info.paused) info.next_times = next_times;
  }
  if (change.task) {
    kept->task = *change.task;
    info.queue = change.task->queue;
    info.type = change.task->type;
    info.payload = change.task->payload;
  }
  if (change.start_within) info.start_within = *change.start_within;
  if (change.catch_up) info.catch_up = *change.catch_up;
  if (change.overlap) info.overlap = *change.overlap;
  if (change.note) info.note = *change.note;
  return info;
}

absl::StatusOr<ScheduleInfo> FakeSchedules::Get(const std::string& name) {
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(const Kept* kept, FindLocked(name));
  return kept->info;
}

absl::StatusOr<std::vector<ScheduleInfo>> FakeSchedules::List() {
  MutexLock lock(mu_);
  std::vector<ScheduleInfo> all;
  for (const auto& [name, kept] : schedules_) {
    all.push_back(kept.info);
    all.back().payload.clear();
    if (all.back().next_times.size() > 1) all.back().next_times.resize(1);
  }
  return all;
}

absl::Status FakeSchedules::Delete(const std::string& name) {
  MutexLock lock(mu_);
  RETURN_IF_ERROR(FindLocked(name).status());
  schedules_.erase(name);
  return absl::OkStatus();
}

absl::StatusOr<ScheduleInfo> FakeSchedules::SetPaused(const std::string& name, bool paused) {
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(Kept * kept, FindLocked(name));
  kept->info.paused = paused;
  kept->info.next_times.clear();
  if (!paused) {
    // Without a tick left it has ended.
    auto ticks = TicksOf("times", kept->info.times, kNextTimes);
    if (ticks.ok()) kept->info.next_times = *std::move(ticks);
  }
  return kept->info;
}

absl::StatusOr<ScheduleInfo> FakeSchedules::Pause(const std::string& name) { return SetPaused(name, true); }

absl::StatusOr<ScheduleInfo> FakeSchedules::Resume(const std::string& name) { return SetPaused(name, false); }

absl::StatusOr<TaskId> FakeSchedules::RunNow(const std::string& name) {
  NewTask task;
  {
    MutexLock lock(mu_);
    ASSIGN_OR_RETURN(const Kept* kept, FindLocked(name));
    task = kept->task;
  }
  task.options.headers[kScheduleHeader] = name;
  const absl::Time now = absl::Now();
  task.options.headers[kTickHeader] = absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", now, absl::UTCTimeZone());
  ASSIGN_OR_RETURN(const TaskId id, enqueue_(std::move(task)));
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(Kept * kept, FindLocked(name));
  kept->info.last_task = id;
  kept->info.last_tick_time = now;
  ++kept->info.fired_total;
  return id;
}

absl::StatusOr<std::vector<absl::Time>> FakeSchedules::Preview(const ScheduleTimes& times, int count) {
  if (count < 1 || count > 100) return InvalidField("count", "must be 1 to 100");
  return TicksOf("times", times, count);
}

}  // namespace penstock
