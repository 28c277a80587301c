#include "broker/core/schedules.h"

#include <algorithm>

#include "broker/core/schedule_record.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {
namespace {

constexpr int kTicksPerStep = 256;
// Without catch-up a tick is still made this long after it: a restart of the broker, or a stall, does not lose it.
constexpr Span kOnTime = kMinute;
// Of one absence, ticks are counted as missed one by one up to here; the rest is jumped over.
constexpr int kMissedCounted = 1'000;

NewTask ViewOf(const ScheduledTask& task) {
  NewTask view;
  view.queue = task.queue;
  view.type = task.type;
  view.priority = task.priority;
  view.run_timeout = task.run_timeout;
  view.life_timeout = task.life_timeout;
  view.retry_change = task.retry_change;
  view.unique_key = task.unique_key;
  view.unique_window = task.unique_window;
  view.unique_waiting = task.unique_waiting;
  view.unique_conflict = task.unique_conflict;
  view.key = task.key;
  view.group = task.group;
  view.cost = task.cost;
  view.result_retention = task.result_retention;
  view.labels = task.labels;
  view.spec = task.spec;
  return view;
}

std::string TimeText(Time time) { return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", ToTime(time), absl::UTCTimeZone()); }

absl::Status NoSchedule(std::string_view name) {
  return absl::NotFoundError(fmt::format("there is no schedule {}", name));
}

}  // namespace

absl::Status Schedules::Restore(const StoreReader& store) {
  const Keys& keys = context_.keys;
  absl::Status broken;
  absl::Status status =
      store.Scan(Family::kMeta, keys.First('d'), keys.Past('d'), [&](std::string_view key, std::string_view stored) {
        auto record = OpenRecord<records::ScheduleRecord>(key, stored);
        broken = record.status();
        if (!broken.ok()) return false;
        auto schedule = std::make_unique<Schedule>();
        schedule->view.name = key.substr(2);
        ReadRecord(*record, &schedule->view);
        schedule->newer_record = IfNewer(*record);
        bytes_ += schedule->view.definition->task.bytes();
        std::string name = schedule->view.name;
        schedules_.emplace(std::move(name), std::move(schedule));
        return true;
      });
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(broken);
  for (auto& [name, schedule] : schedules_) {
    ScheduleView& view = schedule->view;
    ASSIGN_OR_RETURN(const auto progress,
                     GetRecord<records::ScheduleProgressRecord>(store, Family::kMeta, keys.ScheduleProgress(name)));
    ReadRecord(progress, &view);
    schedule->newer_progress = IfNewer(progress);
    auto ticks = Ticks::Make(ToTickSpec(view.definition->times, view.anchor));
    if (ticks.ok()) {
      schedule->ticks = *std::move(ticks);
      if (view.next != kNever) due_.emplace(view.next, view.name);
    } else {
      view.error = fmt::format("it waits: {}; start the broker again when that is mended, or update the schedule",
                               ToStd(ticks.status().message()));
      view.error_time = context_.now.wall;
      context_.Fact(LogFact::Kind::kScheduleFailed, fmt::format("schedule={} {}", name, view.error));
    }
  }
  next_due_ = due_.empty() ? kNever : due_.begin()->first;
  return absl::OkStatus();
}

// --- what operators do ---

void Schedules::Apply(const ScheduleCommand& command) {
  ScheduleReply reply;
  if (absl::Status status = Change(command, &reply); !status.ok()) {
    context_.ReplyTo(command.ticket, std::move(status));
  } else {
    if (command.verb != ScheduleVerb::kGet) context_.effects.needs_sync = true;
    context_.ReplyTo(command.ticket, std::move(reply));
  }
}

absl::Status Schedules::Change(const ScheduleCommand& command, ScheduleReply* reply) {
  Schedule* schedule = Find(command.name);
  if (command.verb == ScheduleVerb::kCreate) {
    if (schedule != nullptr) {
      return absl::AlreadyExistsError(fmt::format("schedule {} exists already", command.name));
    }
    ASSIGN_OR_RETURN(schedule, Create(command));
    context_.Fact(LogFact::Kind::kScheduleChanged, fmt::format("created schedule={}", command.name));
    reply->schedule = schedule->view;
    return absl::OkStatus();
  }
  if (schedule == nullptr) return NoSchedule(command.name);
  ScheduleView& view = schedule->view;
  switch (command.verb) {
    case ScheduleVerb::kCreate:
    case ScheduleVerb::kGet:
      break;
    case ScheduleVerb::kUpdate:
      RETURN_IF_ERROR(Update(*command.change, schedule));
      context_.Fact(LogFact::Kind::kScheduleChanged, fmt::format("updated schedule={}", command.name));
      break;
    case ScheduleVerb::kPause:
      if (view.paused) break;
      view.paused = true;
      SetNext(schedule, kNever);
      PutProgress(*schedule);
      context_.Fact(LogFact::Kind::kScheduleChanged, fmt::format("paused schedule={}", command.name));
      break;
    case ScheduleVerb::kResume:
      if (!view.paused) break;
      if (!schedule->ticks) return absl::FailedPreconditionError(view.error);
      view.paused = false;
      SetNext(schedule, NextTick(*schedule, context_.now.wall));
      PutProgress(*schedule);
      context_.Fact(LogFact::Kind::kScheduleChanged, fmt::format("resumed schedule={}", command.name));
      break;
    case ScheduleVerb::kRunNow: {
      ASSIGN_OR_RETURN(reply->task, MakeTask(schedule, context_.now.wall));
      enqueuer_.CloseBlock();
      PutProgress(*schedule);
      break;
    }
    case ScheduleVerb::kDelete:
      Delete(schedule);
      context_.Fact(LogFact::Kind::kScheduleChanged, fmt::format("deleted schedule={}", command.name));
      return absl::OkStatus();
  }
  reply->schedule = view;
  return absl::OkStatus();
}

absl::Status Schedules::CheckBytes(const ScheduledTask& task, const Schedule& instead_of) const {
  const size_t before = instead_of.view.definition->task.bytes();
  if (bytes_ - before + task.bytes() <= context_.options.max_schedule_bytes) return absl::OkStatus();
  return LimitReached("limits.schedule_bytes",
                      fmt::format("the tasks of all schedules would have more than {} bytes; make payloads smaller, or "
                                  "raise limits.schedule_bytes",
                                  context_.options.max_schedule_bytes));
}

absl::StatusOr<Schedules::Schedule*> Schedules::Create(const ScheduleCommand& command) {
  const ScheduleChange& change = *command.change;
  if (schedules_.size() >= context_.options.max_schedules) {
    return LimitReached("limits.schedules",
                        fmt::format("there are {} schedules already; delete some, or raise limits.schedules",
                                    context_.options.max_schedules));
  }
  auto schedule = std::make_unique<Schedule>();
  ScheduleView& view = schedule->view;
  view.name = command.name;
  view.definition = std::make_shared<const ScheduleDefinition>();
  view.create_time = context_.now.wall;
  view.paused = change.paused.value_or(false);
  RETURN_IF_ERROR(Update(change, schedule.get()));
  Schedule* made = schedule.get();
  schedules_.emplace(command.name, std::move(schedule));
  return made;
}

absl::Status Schedules::Update(const ScheduleChange& change, Schedule* schedule) {
  ScheduleView& view = schedule->view;
  auto definition = std::make_shared<ScheduleDefinition>(*view.definition);
  if (change.task) {
    RETURN_IF_ERROR(CheckBytes(*change.task, *schedule));
    definition->task = *change.task;
  }
  if (change.start_within) definition->start_within = *change.start_within;
  if (change.catch_up) definition->catch_up = *change.catch_up;
  if (change.overlap) definition->overlap = *change.overlap;
  if (change.note) definition->note = *change.note;
  // The same times go on with the ticks they had.
  if (change.times && (*change.times != definition->times || !schedule->ticks)) {
    definition->times = *change.times;
    const Time anchor = change.times->start != 0 ? change.times->start : context_.now.wall;
    ASSIGN_OR_RETURN(schedule->ticks, Ticks::Make(ToTickSpec(*change.times, anchor)));
    view.anchor = anchor;
    view.error.clear();
    if (!view.paused) SetNext(schedule, NextTick(*schedule, context_.now.wall));
    PutProgress(*schedule);
  }
  bytes_ += definition->task.bytes() - view.definition->task.bytes();
  view.definition = std::move(definition);
  view.update_time = context_.now.wall;
  PutDefinition(*schedule);
  return absl::OkStatus();
}

void Schedules::Delete(Schedule* schedule) {
  ScheduleView& view = schedule->view;
  SetNext(schedule, kNever);
  bytes_ -= view.definition->task.bytes();
  context_.commit.Delete(Family::kMeta, context_.keys.Schedule(view.name));
  context_.commit.Delete(Family::kMeta, context_.keys.ScheduleProgress(view.name));
  schedules_.erase(schedules_.find(view.name));
}

void Schedules::Answer(const ListSchedulesCommand& command) {
  SchedulesReply reply;
  auto next = schedules_.upper_bound(command.after);
  for (; next != schedules_.end() && reply.schedules.size() < command.limit; ++next) {
    reply.schedules.push_back(next->second->view);
  }
  reply.more = next != schedules_.end();
  context_.ReplyTo(command.ticket, std::move(reply));
}

// --- ticks ---

bool Schedules::PassTicks() {
  std::vector<Schedule*> passed;
  int budget = kTicksPerStep;
  while (next_due_ <= context_.now.wall && budget > 0) {
    Schedule* schedule = Find(due_.begin()->second);
    budget -= PassTick(schedule);
    if (!std::exchange(schedule->changed, true)) passed.push_back(schedule);
  }
  for (Schedule* schedule : passed) {
    schedule->changed = false;
    PutProgress(*schedule);
  }
  enqueuer_.CloseBlock();
  return next_due_ > context_.now.wall;
}

int Schedules::PassTick(Schedule* schedule) {
  ScheduleView& view = schedule->view;
  const Time now = context_.now.wall;
  const CatchUp catch_up = view.definition->catch_up;
  Time tick = view.next;
  Time following = NextTick(*schedule, tick);
  int looked_at = 1;
  // Only the last of several that have come needs a task.
  while (catch_up != CatchUp::kAll && following <= now) {
    ++view.missed_total;
    tick = following;
    if (++looked_at > kMissedCounted) tick = ToMicros(schedule->ticks->Last(ToTime(tick), ToTime(now)));
    following = NextTick(*schedule, tick);
  }
  if (catch_up == CatchUp::kNone && now - tick > kOnTime) {
    ++view.missed_total;
  } else {
    Fire(schedule, tick);
  }
  SetNext(schedule, following);
  return looked_at;
}

void Schedules::Fire(Schedule* schedule, Time tick) {
  ScheduleView& view = schedule->view;
  auto task = MakeTask(schedule, tick);
  if (task.ok()) return;
  if (absl::IsAlreadyExists(task.status())) {
    ++view.skipped_total;
    view.error.clear();
    return;
  }
  ++view.failed_total;
  view.error = std::string(task.status().message());
  view.error_time = context_.now.wall;
  context_.Fact(LogFact::Kind::kScheduleFailed,
                fmt::format("schedule={} tick={} error={}", view.name, TimeText(tick), view.error));
}

absl::StatusOr<TaskId> Schedules::MakeTask(Schedule* schedule, Time tick) {
  ScheduleView& view = schedule->view;
  const ScheduleDefinition& definition = *view.definition;
  if (definition.overlap != Overlap::kAllow && !view.last_task.empty()) {
    enqueuer_.CloseBlock();  // the task may be in it
    if (lifecycle_.Unfinished(view.last_task)) {
      if (definition.overlap == Overlap::kSkip) {
        return absl::AlreadyExistsError(
            fmt::format("task {} of schedule {} is not finished, and its overlap policy is skip",
                        view.last_task.ToString(), view.name));
      }
      cancel_(view.last_task, fmt::format("the next task of schedule {} is due", view.name));
    }
  }
  NewTask task = ViewOf(definition.task);
  // Messages one after the other are one message, in which later fields hold.
  v1::TaskSpec addition;
  (*addition.mutable_headers())["penstock-schedule"] = view.name;
  (*addition.mutable_headers())["penstock-tick"] = TimeText(tick);
  if (definition.start_within > 0) {
    task.expire_at = context_.now.wall + definition.start_within;
    addition.mutable_expire_at()->set_seconds(task.expire_at / kSecond);
    addition.mutable_expire_at()->set_nanos(static_cast<int32_t>(task.expire_at % kSecond * 1'000));
  }
  const std::string spec = definition.task.spec + addition.SerializeAsString();
  task.spec = spec;
  ASSIGN_OR_RETURN(const EnqueueResult made, enqueuer_.EnqueueOne(task));
  if (made.duplicate) {
    return absl::AlreadyExistsError(
        fmt::format("task {} has the unique key of schedule {}", made.task.ToString(), view.name));
  }
  ++view.fired_total;
  view.last_tick = tick;
  view.last_task = made.task;
  view.error.clear();
  return made.task;
}

// --- what is kept ---

Schedules::Schedule* Schedules::Find(std::string_view name) {
  auto found = schedules_.find(name);
  return found == schedules_.end() ? nullptr : found->second.get();
}

Time Schedules::NextTick(const Schedule& schedule, Time after) {
  const std::optional<absl::Time> next = schedule.ticks->Next(ToTime(after));
  return next ? ToMicros(*next) : kNever;
}

void Schedules::SetNext(Schedule* schedule, Time next) {
  ScheduleView& view = schedule->view;
  if (view.next != kNever) due_.erase({view.next, view.name});
  view.next = next;
  if (next != kNever) due_.emplace(next, view.name);
  next_due_ = due_.empty() ? kNever : due_.begin()->first;
}

void Schedules::PutDefinition(const Schedule& schedule) {
  context_.Put(Family::kMeta, context_.keys.Schedule(schedule.view.name),
               ToRecord(schedule.view, schedule.newer_record));
}

void Schedules::PutProgress(const Schedule& schedule) {
  context_.Put(Family::kMeta, context_.keys.ScheduleProgress(schedule.view.name),
               ToProgressRecord(schedule.view, schedule.newer_progress));
}

}  // namespace penstock::broker
