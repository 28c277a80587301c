// What is done to a waiting task from outside beside cancelling it: it becomes another, is deleted, or makes room.
// Methods of Lifecycle, of which lifecycle.cc has the rest.

#include <algorithm>
#include <string>
#include <utility>

#include "broker/core/changed_task.h"
#include "broker/core/lifecycle.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {

bool Lifecycle::WasHandedOut(const records::TaskRecord& record) {
  return record.handed_out() || record.attempt() > 0 || record.attempt_records() > 0;
}

// A timer of its own must not stand where the timer of its block's run stands, or will stand when the tasks before it
// have been taken: it would be written over.
Time Lifecycle::FreeDue(const StoredTask& task, const Lane& lane, Time due) {
  if (task.block == nullptr) return due;
  const TaskBlock::Entry& entry = task.block->lane_of(task.id.slot());
  return entry.lane == lane.id && task.block->extras(task.id.slot()).run_at == due ? due + 1 : due;
}

namespace {

Time FirstDue(const Lifecycle::StoredTask& task, const records::TaskRecord& record) {
  if (record.life_end() != 0) return record.life_end() - task.extras().life_timeout;
  if (record.redriven()) return record.run_time();  // its life began with its redrive, at the earliest
  return std::max(task.block != nullptr ? task.block->extras(task.id.slot()).run_at : 0, Time{record.create_time()});
}

}  // namespace

absl::Status Lifecycle::CheckKeyIsFree(const StoredTask& task, const QueueState& to) {
  if (task.block == nullptr || task.extras().unique_key.empty() || to.id == task.lane.queue) return absl::OkStatus();
  const auto own = GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex,
                                                    context_.keys.Unique(task.lane.queue, task.extras().unique_key));
  if (absl::IsNotFound(own.status())) return absl::OkStatus();  // it has given it up
  RETURN_IF_ERROR(own.status());
  if (own->task_id() != task.id.value() || (own->until() != 0 && own->until() <= context_.now.wall)) {
    return absl::OkStatus();
  }
  auto record = GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex,
                                                 context_.keys.Unique(to.id, task.extras().unique_key));
  if (absl::IsNotFound(record.status())) return absl::OkStatus();
  RETURN_IF_ERROR(record.status());
  const TaskId holder(record->task_id());
  const bool held = record->until() == 0 || record->until() > context_.now.wall;
  if (!held || holder == task.id || WasPurged(holder)) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("task {} has the unique key {} in queue {} already",
                                                   holder.ToString(), task.extras().unique_key, to.name));
}

void Lifecycle::MoveUniqueKey(const StoredTask& task, QueueId to) {
  const SlotExtras& extras = task.extras();
  if (extras.unique_key.empty() || to == task.lane.queue) return;
  const std::string before = context_.keys.Unique(task.lane.queue, extras.unique_key);
  auto record = GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex, before);
  if (!record.ok() || record->task_id() != task.id.value()) return;  // it has given it up
  if (record->until() != 0 && record->until() <= context_.now.wall) return;
  context_.commit.Delete(Family::kIndex, before);
  const std::string key = context_.keys.Unique(to, extras.unique_key);
  context_.Put(Family::kIndex, key, *record);
  if (record->until() != 0) context_.forgotten[BucketOf(record->until())].push_back(key);
}

absl::StatusOr<UpdateReply> Lifecycle::Change(const StoredTask& stored, const TaskChange& change) {
  const NewTask& task = *change.task;
  const Time now = context_.now.wall;
  QueueState* from = context_.state.FindQueue(stored.lane.queue);
  QueueState* to = context_.state.FindQueue(change.lane.queue);
  RETURN_IF_ERROR(LeaveLane(stored));
  context_.Promise(*from);
  context_.Promise(*to);
  MoveUniqueKey(stored, to->id);
  records::TaskRecord record = stored.record ? *stored.record : NewRecord(stored);
  Lane* lane = LaneFor(change.lane, change.group);
  const Time due = FreeDue(stored, *lane, change.run_at ? std::max(*change.run_at, now) : Time{record.run_time()});
  if (stored.lane == change.lane) {
    if (lane->hold != nullptr && lane->hold->task == stored.id) context_.state.SetHold(lane, KeyHold{stored.id, due});
  } else {
    ReleaseKey(stored.lane, stored.id);
  }

  SlotExtras extras;
  extras.expire_at = task.start_within > 0 ? due + task.start_within : task.expire_at;
  extras.run_timeout = task.run_timeout;
  extras.retry_policy = task.retry_policy;
  if (!task.retry_change.empty()) extras.retry_policy = task.retry_change.On(to->settings.retry_policy);
  extras.unique_key = stored.extras().unique_key;
  extras.unique_window = stored.extras().unique_window;
  extras.unique_waiting = stored.extras().unique_waiting;
  extras.result_retention = task.result_retention;
  extras.cost = task.cost;
  extras.life_timeout = task.life_timeout;
  context_.Put(Family::kTasks, context_.keys.Spec(stored.id), MakeSpecRecord(extras, task.spec, change.group));

  State state = State::kAvailable;
  TimerKind kind = TimerKind::kReturned;
  if (due > now) {
    state = WasHandedOut(record) ? State::kRetryable : State::kScheduled;
    kind = state == State::kRetryable ? TimerKind::kRetryable : TimerKind::kPostponed;
  }
  SetLane(change.lane, change.type, change.priority, &record);
  record.set_state(static_cast<uint32_t>(state));
  record.set_lane_id(lane->id.value());
  record.set_run_time(due);
  record.set_revision(record.revision() + 1);
  // Its life counts from when it is first due, which is what changes of a task that no worker has had.
  const Time first_due = WasHandedOut(record) ? FirstDue(stored, record) : due;
  record.set_life_end(extras.life_timeout > 0 ? first_due + extras.life_timeout : 0);
  PutRecord(stored.id, record);
  timers_.Add(lane, due, stored.id, 1, kind);
  context_.state.CountBytes(to, stored.id, static_cast<int64_t>(task.spec.size()));
  // The janitor looks through a block for what expires: by the slots, and the tasks that left their place.
  BlockState* block = TouchBlockOf(stored.id);
  if (block != nullptr && !block->is_gone(stored.id.slot())) context_.state.MarkGone(block, stored.id.slot());
  NoteDeadline(stored.id, DeadlineOf(extras, record.create_time(), &record).time);
  NotifyWatchers(stored.id, state, record.attempt());
  return UpdateReply{record.revision(), due};
}

absl::Status Lifecycle::Delete(TaskId task) {
  if (context_.state.FindLease(task) != nullptr) {
    return absl::FailedPreconditionError("the task is running; cancel it first");
  }
  ASSIGN_OR_RETURN(const StoredTask stored, LoadUnfinished(task));
  const State state = stored.record ? static_cast<State>(stored.record->state()) : State::kAvailable;
  if (state == State::kCompleted) return absl::FailedPreconditionError("the task is completed");
  if (!IsFinal(state)) {
    RETURN_IF_ERROR(LeaveLane(stored));
    ReleaseKey(stored.lane, task);
  }
  context_.Promise(*context_.state.FindQueue(stored.lane.queue));
  if (stored.record) {
    Forget(task, *stored.record, Forgetting::kPurged);
  } else {
    FinishPurged(task, *stored.block, TouchBlockOf(task));
  }
  watchers_.Fail(task, absl::NotFoundError("the task was deleted"));
  return absl::OkStatus();
}

bool Lifecycle::MayBeReplaced(const StoredTask& task) {
  return task.block != nullptr && context_.state.FindLease(task.id) == nullptr &&
         (!task.record || (!IsFinal(static_cast<State>(task.record->state())) && !WasHandedOut(*task.record)));
}

}  // namespace penstock::broker
