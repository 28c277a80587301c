#include "broker/core/lifecycle.h"

#include <algorithm>

#include "common/status.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

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

LaneKey Lifecycle::LaneOf(const records::TaskRecord& record) {
  const QueueId queue(record.queue_id());
  if (record.fifo()) return LaneKey::Fifo(queue, record.lane_name());
  return {queue, TypeId(record.type_id()), static_cast<uint8_t>(record.priority()), false, record.lane_name()};
}

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

}  // namespace penstock::broker
