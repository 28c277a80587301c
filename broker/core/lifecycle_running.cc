// What ends an attempt, and what a running task leaves behind on the way.

#include <algorithm>

#include "broker/core/lane_head.h"
#include "broker/core/lifecycle.h"
#include "broker/core/retry_policy.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

void Lifecycle::Complete(Lease* lease, std::string_view worker, std::string_view result,
                         std::string_view content_type) {
  LoadDetails(lease);
  const TaskId task = lease->task;
  const uint32_t attempt = lease->attempt;
  QueueState* queue = context_.state.FindQueue(lease->queue);
  context_.Promise(*queue);
  if (lease->exceptional) {
    records::TaskRecord record = RecordOf(*lease);
    record.set_attempt(attempt);
    record.set_result_content_type(std::string(content_type));
    record.set_has_result(true);
    record.set_last_token(lease->token.value());
    AddAttempt(*lease, worker, v1::ATTEMPT_OUTCOME_COMPLETED, {}, &record);
    records::ResultRecord stored;
    stored.set_result(std::string(result));
    stored.set_content_type(std::string(content_type));
    context_.Put(Family::kTasks, context_.keys.Result(task), stored);
    EndWithRecord(lease, std::move(record), State::kCompleted, DeadReason::kNone);
    NotifyWatchers(task, State::kCompleted, attempt, result, content_type);
    return;
  }
  if (lease->has_unique_key) {
    if (auto stored = Load(task); stored.ok()) ReleaseUniqueKeyOf(*stored);
  }
  const Span retention = lease->result_retention >= 0 ? lease->result_retention : queue->settings.result_retention;
  Ending ending{true, true, 0};
  if (retention > 0) {
    ending.bucket = BucketOf(context_.now.wall + retention);
    context_.history[ending.bucket].Add(
        {task, lease->queue, lease->type, lease->priority, lease->token, worker, lease->create_time, lease->start_time,
         context_.now.wall, content_type, result},
        context_.now.wall);
  }
  context_.state.Count(queue, Counter::kRunning, -1);
  context_.state.Count(queue, Counter::kCompletedTotal, 1);
  if (lease->fifo) ReleaseKey(lease->lane(), task);
  if (lease->is_settled_at_end()) context_.settle(*lease);
  NotifyWatchers(task, State::kCompleted, attempt, result, content_type);
  NotifySubscribers(*queue, lease->type, task, State::kCompleted, attempt, DeadReason::kNone);
  FinishSlot(task, ending, context_.state.FindBlock(BlockId(task.block())));
}

void Lifecycle::Fail(Lease* lease, std::string_view worker, const ErrorText& error, std::optional<Span> retry_after,
                     bool reject) {
  const TaskId task = lease->task;
  const uint32_t attempt = lease->attempt;
  QueueState* queue = context_.state.FindQueue(lease->queue);
  context_.Promise(*queue);
  records::TaskRecord record = RecordOf(*lease);
  record.set_attempt(attempt);
  record.set_last_token(lease->token.value());
  AddAttempt(*lease, worker, v1::ATTEMPT_OUTCOME_FAILED, error, &record);
  context_.state.Count(queue, Counter::kFailedTotal, 1);
  if (lease->cancel_requested) {
    EndWithRecord(lease, std::move(record), State::kCancelled, DeadReason::kNone);
    NotifyWatchers(task, State::kCancelled, attempt);
    return;
  }
  const auto stored = Load(task);
  const RetryPolicy& policy = stored.ok() ? PolicyOf(*queue, *stored) : queue->settings.retry_policy;
  const uint32_t counted = attempt - record.attempt_base();
  if (reject || counted >= policy.max_attempts) {
    EndWithRecord(lease, std::move(record), State::kDead, reject ? DeadReason::kRejected : DeadReason::kAttemptsUsedUp);
    NotifyWatchers(task, State::kDead, attempt);
    return;
  }
  const Span wait = retry_after.value_or(BackoffAfter(policy, task, counted));
  Return(lease, stored.ok() ? &*stored : nullptr, std::move(record), context_.now.wall + wait, TimerKind::kRetryable);
}

void Lifecycle::Snooze(Lease* lease, std::string_view worker, Span delay) {
  if (lease->cancel_requested) return FinishCancelled(lease, worker, true);
  context_.Promise(*context_.state.FindQueue(lease->queue));
  records::TaskRecord record = RecordOf(*lease);
  record.set_attempt(lease->attempt - 1u);
  record.set_last_token(lease->token.value());
  AddAttempt(*lease, worker, v1::ATTEMPT_OUTCOME_SNOOZED, {}, &record);
  const auto stored = Load(lease->task);
  Return(lease, stored.ok() ? &*stored : nullptr, std::move(record), context_.now.wall + delay, TimerKind::kRetryable);
}

void Lifecycle::Release(Lease* lease, std::string_view worker, bool reported) {
  if (lease->cancel_requested) return FinishCancelled(lease, worker, reported);
  context_.Promise(*context_.state.FindQueue(lease->queue));
  records::TaskRecord record = RecordOf(*lease);
  record.set_attempt(lease->attempt - 1u);
  if (lease->started) AddAttempt(*lease, worker, v1::ATTEMPT_OUTCOME_RELEASED, {}, &record);
  if (reported) record.set_last_token(lease->token.value());
  Time since = record.run_time();
  const auto stored = Load(lease->task);
  // It waits again where it stood: a scheduled task since it was due.
  // (A record that was made while it ran says only when it was enqueued.)
  if (stored.ok() && stored->block != nullptr && since == lease->create_time && record.revision() == 0) {
    since = std::max(since, stored->extras().run_at);
  }
  Return(lease, stored.ok() ? &*stored : nullptr, std::move(record), since, TimerKind::kReturned);
}

void Lifecycle::Lose(Lease* lease, std::string_view worker) {
  if (!lease->started) return Release(lease, worker, false);
  const TaskId task = lease->task;
  QueueState* queue = context_.state.FindQueue(lease->queue);
  context_.Promise(*queue);
  records::TaskRecord record = RecordOf(*lease);
  record.set_attempt(lease->attempt);
  AddAttempt(*lease, worker, v1::ATTEMPT_OUTCOME_LOST,
             {"worker lost", "the worker's connection broke or its lease ran out before the attempt ended", ""},
             &record);
  context_.state.Count(queue, Counter::kFailedTotal, 1);
  ++queue->times.attempts_lost;
  const auto stored = Load(task);
  const RetryPolicy& policy = stored.ok() ? PolicyOf(*queue, *stored) : queue->settings.retry_policy;
  const uint32_t attempt = lease->attempt;
  if (lease->cancel_requested) {
    EndWithRecord(lease, std::move(record), State::kCancelled, DeadReason::kNone);
    NotifyWatchers(task, State::kCancelled, attempt);
  } else if (attempt - record.attempt_base() >= policy.max_attempts) {
    EndWithRecord(lease, std::move(record), State::kDead, DeadReason::kAttemptsUsedUp);
    NotifyWatchers(task, State::kDead, attempt);
  } else {
    Return(lease, stored.ok() ? &*stored : nullptr, std::move(record), context_.now.wall, TimerKind::kReturned);
  }
}

void Lifecycle::FinishCancelled(Lease* lease, std::string_view worker, bool reported) {
  const TaskId task = lease->task;
  const uint32_t attempt = lease->attempt;
  context_.Promise(*context_.state.FindQueue(lease->queue));
  records::TaskRecord record = RecordOf(*lease);
  record.set_attempt(lease->started ? attempt : attempt - 1u);
  if (reported) record.set_last_token(lease->token.value());
  const std::string reason = record.cancel_reason();
  AddAttempt(*lease, worker, v1::ATTEMPT_OUTCOME_CANCELLED,
             {"cancelled", reason.empty() ? "its cancellation was asked for" : std::string_view(reason), ""}, &record);
  EndWithRecord(lease, std::move(record), State::kCancelled, DeadReason::kNone);
  NotifyWatchers(task, State::kCancelled, attempt);
}

void Lifecycle::MakeExceptional(Lease* lease, records::TaskRecord* record) {
  if (lease->exceptional) return;
  // From now on the task has a record; while it runs, the lease holds over its state.
  record->set_state(static_cast<uint32_t>(State::kAvailable));
  record->set_attempt(lease->attempt - 1u);
  context_.state.MakeExceptional(lease);
}

void Lifecycle::RequestCancel(Lease* lease, std::string_view reason) {
  context_.state.RequestCancel(lease);
  if (reason.empty()) return;
  records::TaskRecord record = RecordOf(*lease);
  MakeExceptional(lease, &record);
  record.set_cancel_reason(std::string(reason));
  PutRecord(lease->task, record);
}

void Lifecycle::AddLog(Lease* lease, const LogReport& report) {
  records::TaskRecord record = RecordOf(*lease);
  MakeExceptional(lease, &record);
  records::LogRecord log;
  log.set_attempt(lease->attempt);
  for (const LogText& line : report.lines) {
    const uint64_t cost = line.text.size() + 16;
    if (record.log_bytes() + cost > context_.options.max_log_bytes_per_task) {
      record.set_log_truncated(true);
      break;
    }
    record.set_log_bytes(record.log_bytes() + cost);
    auto* stored = log.add_lines();
    stored->set_time(line.time != 0 ? line.time : context_.now.wall);
    stored->set_text(std::string(line.text));
  }
  if (log.lines_size() > 0) {
    context_.Put(Family::kTasks, context_.keys.Log(lease->task, record.log_records()), log);
    record.set_log_records(record.log_records() + 1);
  }
  PutRecord(lease->task, record);
}

void Lifecycle::SaveCheckpoint(Lease* lease, std::string_view checkpoint) {
  context_.Promise(*context_.state.FindQueue(lease->queue));
  records::TaskRecord record = RecordOf(*lease);
  const bool known = lease->exceptional && record.has_checkpoint();
  MakeExceptional(lease, &record);
  record.set_has_checkpoint(true);
  records::CheckpointRecord saved;
  saved.set_checkpoint(std::string(checkpoint));
  context_.Put(Family::kTasks, context_.keys.Checkpoint(lease->task), saved);
  if (!known) PutRecord(lease->task, record);
}

std::optional<std::string> Lifecycle::LoadCheckpoint(TaskId task, const records::TaskRecord& record) {
  if (!record.has_checkpoint()) return std::nullopt;
  auto saved = GetRecord<records::CheckpointRecord>(context_.commit, Family::kTasks, context_.keys.Checkpoint(task));
  if (saved.ok()) return std::move(*saved->mutable_checkpoint());
  context_.Unreadable(saved.status(), fmt::format("the checkpoint of task {}, which begins anew", task.ToString()));
  return std::nullopt;
}

void Lifecycle::DropCheckpoint(TaskId task, records::TaskRecord* record) {
  if (!record->has_checkpoint()) return;
  context_.commit.Delete(Family::kTasks, context_.keys.Checkpoint(task));
  record->clear_has_checkpoint();
}

void Lifecycle::NoteDeadline(TaskId task, Time deadline) {
  if (deadline == kNever) return;
  context_.commit.Put(Family::kIndex, context_.keys.Expiry(deadline, BlockId(task.block())), "");
  context_.expiry_added = std::min(context_.expiry_added, deadline);
}

void Lifecycle::BeginLife(const StoredTask& task, records::TaskRecord* record) {
  if (task.block == nullptr || task.extras().life_timeout == 0) return;
  record->set_life_end(context_.now.wall + task.extras().life_timeout);
  NoteDeadline(task.id, record->life_end());
}

void Lifecycle::Return(Lease* lease, const StoredTask* stored, records::TaskRecord record, Time due, TimerKind kind) {
  const TaskId task = lease->task;
  const uint32_t attempt = record.attempt();
  if (stored != nullptr && stored->block != nullptr) {
    const Time create_time = stored->block->create_time();
    if (std::max(due, context_.now.wall) >= LifeEnd(stored->extras(), create_time, &record)) {
      EndWithRecord(lease, std::move(record), State::kDead, DeadReason::kTimedOut);
      NotifyWatchers(task, State::kDead, attempt);
      return;
    }
    NoteDeadline(task, DeadlineOf(stored->extras(), create_time, &record).time);
  }
  // A lane of a FIFO key is not made anew here: its hold keeps it, and purging it, too, while its task runs.
  Lane* lane = LaneFor(lease->lane(), lease->fifo ? 0 : lease->lane_name);
  if (lane->hold != nullptr && lane->hold->task == task) context_.state.SetHold(lane, KeyHold{task, due});
  context_.state.Count(lane->queue, Counter::kRunning, -1);
  record.set_state(static_cast<uint32_t>(kind == TimerKind::kRetryable ? State::kRetryable : State::kAvailable));
  record.set_lane_id(lane->id.value());
  record.set_run_time(due);
  record.set_handed_out(true);
  PutRecord(task, record);
  timers_.Add(lane, due, task, 1, kind);
  if (lane->queue->counts_bytes_of(task)) {
    if (auto returned = Load(task); returned.ok()) CountStored(lane->queue, *returned);
  }
  if (lease->is_settled_at_end()) context_.settle(*lease);
  context_.state.End(task, {true, false, 0}, nullptr, context_.sequence);
  NotifyWatchers(task, kind == TimerKind::kRetryable ? State::kRetryable : State::kAvailable, attempt);
}

void Lifecycle::PutFinalRecord(TaskId task, QueueState* queue, State state, DeadReason reason, Span own_retention,
                               records::TaskRecord* record) {
  const QueueSettings& settings = queue->settings;
  Span retention = own_retention >= 0 ? own_retention : settings.result_retention;
  if (state == State::kDead) retention = settings.dead_retention;
  if (state == State::kCancelled) retention = settings.cancelled_retention.value_or(retention);
  // What a redrive would go on from stays with a dead task.
  if (state != State::kDead) DropCheckpoint(task, record);
  record->set_state(static_cast<uint32_t>(state));
  record->set_dead_reason(static_cast<uint32_t>(reason));
  record->set_end_time(context_.now.wall);
  record->set_forget_time(context_.now.wall + retention);
  PutRecord(task, *record);
  // Only a dead task keeps what it is.
  if (record->revision() != 0 && state != State::kDead) {
    context_.commit.Delete(Family::kTasks, context_.keys.Spec(task));
  }
  NotifySubscribers(*queue, TypeId(record->type_id()), task, state, record->attempt(), reason);
  context_.commit.Put(Family::kIndex, context_.keys.Done(queue->id, state, context_.now.wall, task), "");
  context_.commit.Put(Family::kIndex, context_.keys.Retention(record->forget_time(), task), "");
  context_.retention_added = std::min(context_.retention_added, Time{record->forget_time()});
  if (state == State::kDead) {
    context_.state.Count(queue, Counter::kDead, 1);
    context_.state.Count(queue, Counter::kDeadTotal, 1);
    context_.Fact(LogFact::Kind::kTaskDead,
                  fmt::format("queue={} type={} task={} attempts={} reason={}", queue->name,
                              context_.state.TypeName(TypeId(record->type_id())), task.ToString(), record->attempt(),
                              v1::DeadReason_Name(static_cast<v1::DeadReason>(reason))));
  } else if (state == State::kCancelled) {
    context_.state.Count(queue, Counter::kCancelledTotal, 1);
  } else {
    context_.state.Count(queue, Counter::kCompletedTotal, 1);
  }
}

void Lifecycle::EndWithRecord(Lease* lease, records::TaskRecord record, State state, DeadReason reason) {
  const TaskId task = lease->task;
  QueueState* queue = context_.state.FindQueue(lease->queue);
  LoadDetails(lease);
  if (lease->has_unique_key) {
    if (auto stored = Load(task); stored.ok()) ReleaseUniqueKeyOf(*stored);
  }
  const Span own_retention = lease->result_retention;
  if (state != State::kDead || !queue->settings.dead_blocks_key) ReleaseKey(lease->lane(), task);
  if (lease->is_settled_at_end()) context_.settle(*lease);
  context_.state.Count(queue, Counter::kRunning, -1);
  PutFinalRecord(task, queue, state, reason, own_retention, &record);
  // A dead task keeps its payload, to be redriven.
  FinishSlot(task, {true, state != State::kDead, 0}, context_.state.FindBlock(BlockId(task.block())));
}

}  // namespace penstock::broker
