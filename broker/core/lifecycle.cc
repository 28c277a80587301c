#include "broker/core/lifecycle.h"

#include <algorithm>

#include "broker/core/lane_head.h"
#include "broker/core/retry_policy.h"
#include "common/status.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {
namespace {

// Attempt records kept of a task: a handler that snoozes for ever must not fill the disk.
// As many as a task may have attempts.
constexpr uint32_t kAttemptRecordsMax = 1'000;

LaneKey LaneOf(const records::TaskRecord& record) {
  const QueueId queue(record.queue_id());
  if (record.fifo()) return LaneKey::Fifo(queue, record.lane_name());
  return {queue, TypeId(record.type_id()), static_cast<uint8_t>(record.priority()), false, record.lane_name()};
}

}  // namespace

// --- reading ---

absl::StatusOr<Lifecycle::StoredTask> Lifecycle::Load(TaskId task) {
  StoredTask stored;
  stored.id = task;
  auto record = GetRecord<records::TaskRecord>(context_.commit, Family::kTasks, context_.keys.TaskRecord(task));
  if (record.ok()) {
    stored.record = *std::move(record);
    stored.lane = LaneOf(*stored.record);
    stored.type = TypeId(stored.record->type_id());
    stored.priority = static_cast<uint8_t>(stored.record->priority());
  } else if (!absl::IsNotFound(record.status())) {
    return record.status();
  }
  const BlockId id(task.block());
  const BlockState* state = context_.state.FindBlock(id);
  auto block = context_.blocks.Load(id, state != nullptr && state->compacted);
  if (block.ok() && task.slot() < (*block)->slot_count()) {
    stored.block = *std::move(block);
    const TaskBlock::Entry& entry = stored.block->lane_of(task.slot());
    if (!stored.record) {
      if (state != nullptr && state->is_finished(task.slot())) return absl::NotFoundError("the task is finished");
      stored.lane = entry.lane_key();
      stored.type = entry.type;
      stored.priority = entry.priority;
    }
    stored.group = entry.group;
    if (stored.record && stored.record->revision() != 0) {
      const auto recorded = static_cast<State>(stored.record->state());
      if (recorded != State::kCompleted && recorded != State::kCancelled) {
        ASSIGN_OR_RETURN(records::SpecRecord spec,
                         GetRecord<records::SpecRecord>(context_.commit, Family::kTasks, context_.keys.Spec(task)));
        stored.group = spec.group();
        stored.changed = std::make_shared<const ChangedTask>(std::move(spec));
      }
    }
  } else if (!block.ok() && !absl::IsNotFound(block.status())) {
    return block.status();
  } else if (!stored.record) {
    return absl::NotFoundError("there is no such task");
  }
  if (context_.state.FindQueue(stored.lane.queue) == nullptr)
    return absl::NotFoundError("the task's queue was deleted");
  return stored;
}

BlockState* Lifecycle::TouchBlockOf(TaskId task) {
  const BlockId id(task.block());
  if (BlockState* block = context_.state.FindBlock(id)) return block;
  auto block = context_.blocks.Load(id, false);
  if (!block.ok()) return nullptr;
  return context_.state.TouchBlock(id, (*block)->slot_count());
}

void Lifecycle::LoadDetails(Lease* lease) {
  if (lease->details_known) return;
  lease->details_known = true;
  auto stored = Load(lease->task);
  if (!stored.ok() || stored->block == nullptr) {
    if (!stored.ok()) context_.Unreadable(stored.status(), "task " + lease->task.ToString());
    return;
  }
  lease->has_unique_key = !stored->extras().unique_key.empty() && !stored->extras().unique_waiting;
  lease->result_retention = stored->extras().result_retention.value_or(-1);
  lease->cost = stored->extras().cost;
}

records::TaskRecord Lifecycle::RecordOf(const Lease& lease) {
  if (lease.exceptional) {
    auto record = GetRecord<records::TaskRecord>(context_.commit, Family::kTasks, context_.keys.TaskRecord(lease.task));
    if (record.ok()) return *std::move(record);
    context_.Unreadable(record.status(), "task " + lease.task.ToString());
  }
  records::TaskRecord record;
  SetLane(lease.lane(), lease.type, lease.priority, &record);
  record.set_create_time(lease.create_time);
  record.set_run_time(lease.create_time);
  return record;
}

std::optional<FencingToken> Lifecycle::FinishedUnder(TaskId task) {
  auto record = GetRecord<records::TaskRecord>(context_.commit, Family::kTasks, context_.keys.TaskRecord(task));
  if (record.ok()) return FencingToken(record->last_token());
  std::vector<HistoryAddress> addresses;
  if (const BlockState* block = context_.state.FindBlock(BlockId(task.block()))) {
    addresses = block->finishes;
  } else {
    const std::string key = context_.keys.Finishes(BlockId(task.block()));
    auto value = context_.commit.Get(Family::kIndex, key);
    if (!value.ok()) return std::nullopt;
    auto body = OpenValue(key, *value);
    if (!body.ok()) return std::nullopt;
    auto decoded = DecodeAddresses(*body);
    if (decoded.ok()) addresses = *std::move(decoded);
  }
  std::optional<FencingToken> token;
  for (const HistoryAddress& address : addresses) {
    if (address.sequence == context_.sequence) {
      // Finished in the batch that is being built.
      if (auto history = context_.history.find(address.bucket); history != context_.history.end()) {
        token = history->second.TokenOf(task);
      }
      if (token) break;
      continue;
    }
    const std::string key = context_.keys.History(address.bucket, address.sequence);
    auto value = context_.commit.Get(Family::kHistory, key);
    if (!value.ok()) continue;
    auto body = OpenValue(key, *value);
    if (!body.ok()) continue;
    (void)VisitHistory(*body, [&](const FinishedTask& finished) {
      if (finished.task == task) token = finished.token;
      return !token.has_value();
    });
    if (token) break;
  }
  return token;
}

// --- helpers ---

void Lifecycle::SetLane(const LaneKey& lane, TypeId type, uint8_t priority, records::TaskRecord* record) {
  record->set_queue_id(lane.queue.value());
  record->set_type_id(type.value());
  record->set_priority(priority);
  record->set_lane_name(lane.name);
  record->set_fifo(lane.fifo);
}

Lane* Lifecycle::LaneFor(const LaneKey& key, uint64_t group) {
  Lane* lane = context_.state.FindLane(key);
  return lane != nullptr ? lane : context_.state.CreateLane(key, group);
}

void Lifecycle::ReleaseKey(const LaneKey& key, TaskId task) {
  if (!key.fifo) return;
  Lane* lane = context_.state.FindLane(key);
  if (lane != nullptr && lane->hold != nullptr && lane->hold->task == task) context_.state.SetHold(lane, std::nullopt);
}

records::TaskRecord Lifecycle::NewRecord(const StoredTask& task) {
  records::TaskRecord record;
  SetLane(task.lane, task.type, task.priority, &record);
  record.set_create_time(task.block->create_time());
  record.set_run_time(std::max(task.extras().run_at, task.block->create_time()));
  return record;
}

const RetryPolicy& Lifecycle::PolicyOf(const QueueState& queue, const StoredTask& task) {
  if (task.block != nullptr && task.extras().retry_policy) return *task.extras().retry_policy;
  return queue.settings.retry_policy;
}

void Lifecycle::PutRecord(TaskId task, const records::TaskRecord& record) {
  context_.Put(Family::kTasks, context_.keys.TaskRecord(task), record);
}

void Lifecycle::AddAttempt(const Lease& lease, std::string_view worker, int outcome, const ErrorText& error,
                           records::TaskRecord* record) {
  records::AttemptRecord attempt;
  attempt.set_number(lease.attempt);
  attempt.set_worker(std::string(worker));
  attempt.set_start_time(lease.start_time);
  attempt.set_end_time(context_.now.wall);
  attempt.set_outcome(static_cast<uint32_t>(outcome));
  attempt.set_error_type(std::string(error.type));
  attempt.set_error_message(std::string(error.message));
  attempt.set_error_detail(std::string(error.detail));
  const uint32_t index = record->attempt_records();
  record->set_attempt_records(index + 1);
  context_.Put(Family::kTasks, context_.keys.Attempt(lease.task, index), attempt);
  if (index >= kAttemptRecordsMax) {
    context_.commit.Delete(Family::kTasks, context_.keys.Attempt(lease.task, index - kAttemptRecordsMax));
  }
}

void Lifecycle::ReleaseUniqueKey(QueueId queue, TaskId task, std::string_view unique_key, Span window) {
  if (unique_key.empty() || window != 0) return;
  const std::string key = context_.keys.Unique(queue, unique_key);
  auto record = GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex, key);
  if (record.ok() && record->task_id() == task.value()) context_.commit.Delete(Family::kIndex, key);
}

void Lifecycle::ReleaseUniqueKeyOf(const StoredTask& task) {
  if (task.block == nullptr) return;
  ReleaseUniqueKey(task.lane.queue, task.id, task.extras().unique_key, task.extras().unique_window);
}

void Lifecycle::DropUniqueKey(TaskId task, const TaskBlock& block) {
  ReleaseUniqueKey(block.lane_of(task.slot()).queue, task, block.extras(task.slot()).unique_key, 0);
}

void Lifecycle::DropChange(TaskId task, QueueId queue) {
  const std::string key = context_.keys.Spec(task);
  auto spec = GetRecord<records::SpecRecord>(context_.commit, Family::kTasks, key);
  if (spec.ok()) ReleaseUniqueKey(queue, task, spec->unique_key(), 0);
  context_.commit.Delete(Family::kTasks, key);
}

void Lifecycle::NotifyWatchers(TaskId task, State state, uint32_t attempt, std::string_view result,
                               std::string_view content_type) {
  if (!watchers_.anybody() || !watchers_.Watched(task)) return;
  TaskSnapshot snapshot;
  snapshot.task = task;
  snapshot.state = state;
  snapshot.attempt = attempt;
  if (state == State::kRunning) {
    snapshot.place = TaskSnapshot::Place::kRunning;
  }
  if (IsFinal(state)) {
    snapshot.end_time = context_.now.wall;
    snapshot.result = result;
    snapshot.result_content_type = content_type;
    if (const BlockState* block = context_.state.FindBlock(BlockId(task.block())); block != nullptr) {
      snapshot.finishes = block->finishes;
    }
  }
  watchers_.Notify(snapshot);
}

void Lifecycle::NotifySubscribers(const QueueState& queue, TypeId type, TaskId task, State state, uint32_t attempt,
                                  DeadReason reason) {
  if (!watchers_.subscribed()) return;
  TaskEvent event;
  event.task = task;
  event.state = state;
  event.type = type;
  event.type_name = context_.state.TypeName(type);
  event.attempt = attempt;
  event.time = context_.now.wall;
  event.dead_reason = reason;
  watchers_.Tell(queue.id, event);
}

void Lifecycle::EndSubscriptions(const QueueState& queue) {
  watchers_.EndSubscriptions(queue.id, absl::NotFoundError(fmt::format("queue {} was deleted", queue.name)));
}

void Lifecycle::FinishSlot(TaskId task, const Ending& ending, BlockState* block) {
  context_.state.End(task, ending, block, context_.sequence);
  if (block == nullptr || block->alive > 0) return;
  timers_.DropBlock(*block);
  if (block->compacted) {
    context_.commit.Delete(Family::kTasks, context_.keys.CompactedBlock(block->id));
  } else {
    context_.commit.SingleDelete(Family::kBlocks, context_.keys.Block(block->id));
  }
  if (!block->finishes.empty()) {
    uint32_t last = 0;
    for (const HistoryAddress& address : block->finishes) last = std::max(last, address.bucket);
    const std::string key = context_.keys.Finishes(block->id);
    context_.PutBody(Family::kIndex, key, EncodeAddresses(block->finishes));
    context_.forgotten[last].push_back(key);
  }
  context_.blocks.Remove(block->id);
  context_.state.RemoveBlock(block);
}

// --- endings of running tasks ---

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

// --- waiting tasks ---

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
