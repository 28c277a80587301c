// Waiting tasks that leave their lane other than to a worker, and finished ones that come back or are forgotten.

#include "broker/core/lane_head.h"
#include "broker/core/lifecycle.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

TimerKind KindOf(State waiting) {
  return waiting == State::kRetryable   ? TimerKind::kRetryable
         : waiting == State::kScheduled ? TimerKind::kPostponed
                                        : TimerKind::kReturned;
}

}  // namespace

absl::Status Lifecycle::LeaveLane(const StoredTask& task) {
  Lane* lane = context_.state.FindLane(task.lane);
  const auto size = [&] { return static_cast<int64_t>(task.block == nullptr ? 0 : task.spec().size()); };
  if (task.record) {
    const auto state = static_cast<State>(task.record->state());
    if (state != State::kRetryable && state != State::kAvailable && state != State::kScheduled) {
      return absl::FailedPreconditionError("the task is finished");
    }
    if (lane == nullptr || lane->id.value() != task.record->lane_id()) {
      return absl::NotFoundError("the task was purged");
    }
    timers_.Remove(lane, task.record->run_time(), task.id, KindOf(state));
    context_.state.CountBytes(lane->queue, task.id, -size());
    return absl::OkStatus();
  }
  if (lane == nullptr || lane->id != task.block->lane_of(task.id.slot()).lane) {
    return absl::NotFoundError("the task was purged");
  }
  BlockState* block = TouchBlockOf(task.id);
  if (block == nullptr) return absl::NotFoundError("there is no such task");
  context_.state.MarkGone(block, task.id.slot());
  context_.state.CountBytes(lane->queue, task.id, -size());
  if (task.extras().run_at != 0) {
    timers_.RemoveFromRun(lane, task.extras().run_at, task.id);
  } else {
    context_.state.ChangeFresh(lane, -1);
    context_.state.Count(lane->queue, Counter::kAvailable, -1);
    if (lane->key.fifo) {
      if (lane->head == nullptr) lane->head = std::make_unique<LaneHead>();
      lane->head->left_out_of_turn = true;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Lifecycle::StoredTask> Lifecycle::LoadUnfinished(TaskId task) {
  auto stored = Load(task);
  // Of a task that was completed at its first attempt only history knows.
  if (absl::IsNotFound(stored.status()) && FinishedUnder(task)) {
    return absl::FailedPreconditionError("the task is completed");
  }
  return stored;
}

absl::Status Lifecycle::CancelWaiting(TaskId task, std::string_view reason) {
  ASSIGN_OR_RETURN(StoredTask stored, LoadUnfinished(task));
  QueueState* queue = context_.state.FindQueue(stored.lane.queue);
  RETURN_IF_ERROR(LeaveLane(stored));
  context_.Promise(*queue);
  ReleaseKey(stored.lane, task);
  records::TaskRecord record = stored.record ? *stored.record : NewRecord(stored);
  record.set_cancel_reason(std::string(reason));
  ReleaseUniqueKeyOf(stored);
  PutFinalRecord(task, queue, State::kCancelled, DeadReason::kNone,
                 stored.block != nullptr ? stored.extras().result_retention.value_or(-1) : -1, &record);
  NotifyWatchers(task, State::kCancelled, record.attempt());
  FinishSlot(task, {false, true, 0}, TouchBlockOf(task));
  return absl::OkStatus();
}

bool Lifecycle::MayExpire(const records::TaskRecord* record) {
  return record == nullptr || (record->attempt() == 0 && record->attempt_records() == 0 && !record->redriven());
}

bool Lifecycle::WasPurged(TaskId task) {
  if (context_.state.FindLease(task) != nullptr) return false;
  auto stored = Load(task);
  if (!stored.ok() || (stored->record && IsFinal(static_cast<State>(stored->record->state())))) return false;
  const LaneId waits_in = stored->record ? LaneId(stored->record->lane_id()) : stored->block->lane_of(task.slot()).lane;
  const Lane* lane = context_.state.FindLane(stored->lane);
  return lane == nullptr || lane->id != waits_in;
}

bool Lifecycle::Unfinished(TaskId task) {
  if (context_.state.FindLease(task) != nullptr) return true;
  auto stored = Load(task);
  if (!stored.ok() || (stored->record && IsFinal(static_cast<State>(stored->record->state())))) return false;
  return !WasPurged(task);
}

void Lifecycle::FailPurgedWatches() {
  if (!watchers_.anybody()) return;
  for (TaskId task : watchers_.Tasks()) {
    if (WasPurged(task)) watchers_.Fail(task, absl::NotFoundError("the task was purged with its queue"));
  }
}

void Lifecycle::FinishPurged(TaskId task, const TaskBlock& block, BlockState* state) {
  DropUniqueKey(task, block);
  FinishSlot(task, {false, true, 0}, state);
}

void Lifecycle::Expire(const StoredTask& task, bool in_lane, DeadReason reason) {
  if (in_lane && !LeaveLane(task).ok()) return;
  Die(task, reason);
}

void Lifecycle::Drop(const StoredTask& task) {
  ++context_.state.FindQueue(task.lane.queue)->times.dropped;
  Die(task, DeadReason::kDropped);
}

void Lifecycle::Die(const StoredTask& task, DeadReason reason) {
  QueueState* queue = context_.state.FindQueue(task.lane.queue);
  context_.Promise(*queue);
  Lane* lane = context_.state.FindLane(task.lane);
  if (reason == DeadReason::kTimedOut && queue->settings.dead_blocks_key && lane != nullptr && lane->hold != nullptr &&
      lane->hold->task == task.id) {
    context_.state.SetHold(lane, KeyHold{task.id});  // it had its turn, and keeps the key as any dead task does
  } else {
    ReleaseKey(task.lane, task.id);
  }
  records::TaskRecord record = task.record ? *task.record : NewRecord(task);
  ReleaseUniqueKeyOf(task);
  TouchBlockOf(task.id);
  PutFinalRecord(task.id, queue, State::kDead, reason, -1, &record);
  NotifyWatchers(task.id, State::kDead, record.attempt());
}

void Lifecycle::MoveHold(Lane* lane, TaskId task, Time due) {
  if (lane->hold != nullptr && lane->hold->task == task) context_.state.SetHold(lane, KeyHold{task, due});
}

void Lifecycle::CountStored(QueueState* queue, const StoredTask& task) {
  if (task.block == nullptr) return;
  context_.state.CountBytes(queue, task.id, static_cast<int64_t>(task.spec().size()));
}

absl::Status Lifecycle::RunNow(TaskId task) {
  ASSIGN_OR_RETURN(StoredTask stored, LoadUnfinished(task));
  QueueState* queue = context_.state.FindQueue(stored.lane.queue);
  records::TaskRecord record;
  if (stored.record) {
    switch (static_cast<State>(stored.record->state())) {
      case State::kDead:
        Redrive(std::move(stored));
        return absl::OkStatus();
      case State::kRetryable:
      case State::kScheduled:
        break;
      default:
        return absl::FailedPreconditionError("the task is neither scheduled, retryable nor dead");
    }
    record = *stored.record;
  } else {
    if (stored.extras().run_at <= context_.now.wall) {
      return absl::FailedPreconditionError("the task is available already");
    }
    record = NewRecord(stored);
  }
  RETURN_IF_ERROR(LeaveLane(stored));
  context_.Promise(*queue);
  // It becomes due by this: its life begins now.
  if (!stored.record || (static_cast<State>(stored.record->state()) == State::kScheduled &&
                         stored.record->run_time() > context_.now.wall)) {
    BeginLife(stored, &record);
  }
  Lane* lane = LaneFor(stored.lane, stored.group);
  const Time due = FreeDue(stored, *lane, context_.now.wall);
  record.set_state(static_cast<uint32_t>(State::kAvailable));
  record.set_lane_id(lane->id.value());
  record.set_run_time(due);
  PutRecord(task, record);
  timers_.Add(lane, due, task, 1, TimerKind::kReturned);
  CountStored(lane->queue, stored);
  MoveHold(lane, task, due);
  NotifyWatchers(task, State::kAvailable, record.attempt());
  return absl::OkStatus();
}

// --- finished tasks ---

void Lifecycle::Redrive(StoredTask task) {
  records::TaskRecord& record = *task.record;
  QueueState* queue = context_.state.FindQueue(task.lane.queue);
  context_.Promise(*queue);
  context_.commit.Delete(Family::kIndex, context_.keys.Done(queue->id, State::kDead, record.end_time(), task.id));
  context_.commit.Delete(Family::kIndex, context_.keys.Retention(record.forget_time(), task.id));
  context_.state.Count(queue, Counter::kDead, -1);
  Lane* lane = LaneFor(task.lane, task.group);
  const Time due = FreeDue(task, *lane, context_.now.wall);
  record.set_state(static_cast<uint32_t>(State::kAvailable));
  record.set_lane_id(lane->id.value());
  record.set_run_time(due);
  record.set_attempt_base(record.attempt());
  record.set_redriven(true);
  record.clear_end_time();
  record.clear_forget_time();
  record.clear_dead_reason();
  BeginLife(task, &record);
  PutRecord(task.id, record);
  timers_.Add(lane, due, task.id, 1, TimerKind::kReturned);
  CountStored(lane->queue, task);
  MoveHold(lane, task.id, due);
  NotifyWatchers(task.id, State::kAvailable, record.attempt());
}

void Lifecycle::Forget(TaskId task, const records::TaskRecord& record, Forgetting why) {
  const auto state = static_cast<State>(record.state());
  const QueueId queue_id(record.queue_id());
  context_.commit.Delete(Family::kTasks, context_.keys.TaskRecord(task));
  const uint32_t attempts = record.attempt_records();
  for (uint32_t i = attempts > kAttemptRecordsMax ? attempts - kAttemptRecordsMax : 0; i < attempts; ++i) {
    context_.commit.Delete(Family::kTasks, context_.keys.Attempt(task, i));
  }
  for (uint32_t i = 0; i < record.log_records(); ++i) {
    context_.commit.Delete(Family::kTasks, context_.keys.Log(task, i));
  }
  if (record.has_result()) context_.commit.Delete(Family::kTasks, context_.keys.Result(task));
  if (record.has_checkpoint()) context_.commit.Delete(Family::kTasks, context_.keys.Checkpoint(task));
  if (IsFinal(state)) {
    context_.commit.Delete(Family::kIndex, context_.keys.Done(queue_id, state, record.end_time(), task));
    context_.commit.Delete(Family::kIndex, context_.keys.Retention(record.forget_time(), task));
  }
  QueueState* queue = context_.state.FindQueue(queue_id);
  if (state == State::kDead && queue != nullptr) {
    context_.state.Count(queue, Counter::kDead, -1);
    ReleaseKey(LaneOf(record), task);
  }
  // Completed and cancelled tasks left their slot when they ended.
  if (state == State::kCompleted || state == State::kCancelled) return;
  if (record.revision() != 0 && why == Forgetting::kPurged) {
    DropChange(task, queue_id);
  } else if (record.revision() != 0) {
    context_.commit.Delete(Family::kTasks, context_.keys.Spec(task));
  }
  if (BlockState* state_of_block = TouchBlockOf(task)) {
    if (why == Forgetting::kPurged && record.revision() == 0) {
      auto block = context_.blocks.Load(state_of_block->id, state_of_block->compacted);
      if (block.ok()) DropUniqueKey(task, **block);
    }
    FinishSlot(task, {false, true, 0}, state_of_block);
  }
}

}  // namespace penstock::broker
