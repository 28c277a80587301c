#include "broker/core/enqueuer.h"

#include <algorithm>

#include "broker/core/state_codec.h"
#include "common/name_hash.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

void AddRuns(const std::vector<EnqueueResult>& results, records::RequestRecord* record) {
  records::RequestRecord::Run* run = nullptr;
  for (const EnqueueResult& result : results) {
    if (run == nullptr || run->duplicate() != result.duplicate ||
        run->first_task_id() + run->count() != result.task.value()) {
      run = record->add_runs();
      run->set_first_task_id(result.task.value());
      run->set_duplicate(result.duplicate);
    }
    run->set_count(run->count() + 1);
  }
}

}  // namespace

absl::StatusOr<QueueState*> Enqueuer::QueueFor(std::string_view name) {
  if (QueueState* queue = context_.state.FindQueue(name)) return queue;
  if (context_.state.queues().size() >= context_.options.max_queues) {
    return LimitReached("limits.queues", fmt::format("there are {} queues already; delete some, or raise limits.queues",
                                                     context_.options.max_queues));
  }
  QueueState* queue = context_.state.AddQueue(QueueId(context_.state.next().queue++), std::string(name));
  queue->settings = context_.options.queue_defaults;
  queue->create_time = context_.now.wall;
  context_.Fact(LogFact::Kind::kQueueCreated, fmt::format("queue={}", name));
  context_.state.Count(queue, Counter::kEnqueuedTotal, 0);
  PutQueueRecord(context_, *queue);
  return queue;
}

absl::StatusOr<TypeId> Enqueuer::TypeFor(std::string_view name) {
  TypeId type = context_.state.FindType(name);
  if (!type.empty()) return type;
  if (context_.state.type_count() >= context_.options.max_types) {
    return LimitReached("limits.types",
                        fmt::format("there are {} task types already; raise limits.types, or put what varies "
                                    "into the payload instead of the type",
                                    context_.options.max_types));
  }
  type = TypeId(context_.state.next().type++);
  context_.state.AddType(type, std::string(name));
  records::TypeRecord record;
  record.set_name(std::string(name));
  context_.Put(Family::kMeta, context_.keys.Type(type), record);
  return type;
}

// Queues and types that were made for a command that is refused later stay, empty: names cost little, a half-made
// enqueue would cost the promise. Draining queues are found before any task is added.
absl::Status Enqueuer::CheckLimits(const EnqueueCommand& command) {
  std::string_view queue_name, type_name;
  for (const NewTask& task : command.tasks) {
    if (task.queue != queue_name) {
      queue_name = task.queue;
      ASSIGN_OR_RETURN(const QueueState* queue, QueueFor(task.queue));
      if (queue->draining) {
        return absl::FailedPreconditionError(
            fmt::format("queue {} is draining and takes no tasks; end that with `penstock queue resume {}`", task.queue,
                        task.queue));
      }
    }
    if (task.type != type_name) {
      type_name = task.type;
      RETURN_IF_ERROR(TypeFor(task.type).status());
    }
    if (!task.unique_key.empty()) {
      // A key whose record is damaged may be taken: it must not be given away again.
      const QueueState* queue = context_.state.FindQueue(task.queue);
      const std::string key = context_.keys.Unique(queue->id, task.unique_key);
      auto record = GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex, key);
      if (!record.ok() && !absl::IsNotFound(record.status())) {
        return Annotate(record.status(), fmt::format("the unique key {} of queue {}", task.unique_key, task.queue));
      }
    }
  }
  return absl::OkStatus();
}

void Enqueuer::Enqueue(const EnqueueCommand& command) {
  std::string request_key;
  if (!command.request_id.empty()) {
    request_key = context_.keys.Request(command.request_id.high, command.request_id.low);
    auto record = GetRecord<records::RequestRecord>(context_.commit, Family::kIndex, request_key);
    if (record.ok() && record->until() > context_.now.wall) {
      if (record->content_hash() != 0 && record->content_hash() != command.content_hash) {
        context_.ReplyTo(command.ticket, InvalidField("request_id",
                                                      "was used for another request less than 10 minutes "
                                                      "ago; repeat that one, or draw a new id"));
        return;
      }
      EnqueueReply reply;
      for (const auto& run : record->runs()) {
        for (uint32_t i = 0; i < run.count(); ++i) {
          reply.results.push_back({TaskId(run.first_task_id() + i), run.duplicate()});
        }
      }
      // The first enqueue may be in a batch that is still being synced, or in one that was promised less.
      context_.effects.needs_sync = true;
      context_.ReplyTo(command.ticket, std::move(reply));
      return;
    }
    if (!record.ok() && !absl::IsNotFound(record.status())) {
      context_.ReplyTo(command.ticket, record.status());
      return;
    }
  }
  if (absl::Status status = CheckLimits(command); !status.ok()) {
    context_.ReplyTo(command.ticket, std::move(status));
    return;
  }
  EnqueueReply reply;
  reply.results.reserve(command.tasks.size());
  for (const NewTask& task : command.tasks) reply.results.push_back(Add(task));
  if (!request_key.empty()) {
    records::RequestRecord record;
    record.set_until(context_.now.wall + context_.options.request_window);
    record.set_content_hash(command.content_hash);
    AddRuns(reply.results, &record);
    context_.Put(Family::kIndex, request_key, record);
    context_.forgotten[BucketOf(record.until())].push_back(request_key);
  }
  context_.ReplyTo(command.ticket, std::move(reply));
}

absl::StatusOr<EnqueueResult> Enqueuer::EnqueueOne(const NewTask& task) {
  EnqueueCommand command;
  command.tasks.push_back(task);
  RETURN_IF_ERROR(CheckLimits(command));
  return Add(task);
}

EnqueueResult Enqueuer::Add(const NewTask& task) {
  if (task.queue != last_queue_ || task.type != last_type_) {
    last_queue_ = task.queue;
    last_type_ = task.type;
    last_key_.queue = context_.state.FindQueue(task.queue)->id;  // CheckLimits made both
    last_key_.type = context_.state.FindType(task.type);
  }
  LaneKey lane_key = last_key_;
  lane_key.priority = task.priority;
  const uint64_t group = task.group.empty() ? 0 : NameHash(task.group);
  if (task.key.empty()) {
    lane_key.name = group;
  } else {
    lane_key = LaneKey::Fifo(last_key_.queue, NameHash(task.key));
  }
  QueueState* queue = context_.state.FindQueue(last_key_.queue);
  context_.Promise(*queue);

  std::string unique_key;
  if (!task.unique_key.empty()) {
    unique_key = context_.keys.Unique(queue->id, task.unique_key);
    auto record = GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex, unique_key);
    const bool held = record.ok() && (record->until() == 0 || record->until() > context_.now.wall);
    if (held && !lifecycle_.WasPurged(TaskId(record->task_id()))) {
      return {TaskId(record->task_id()), true};
    }
  }
  if (builder_.full() || builder_.bytes() >= context_.options.block_bytes) CloseBlock();
  Lane* lane = context_.state.FindLane(lane_key);
  if (lane == nullptr) lane = context_.state.CreateLane(lane_key, group);
  NewTask resolved = task;
  const Time now = context_.now.wall;
  if (task.delay > 0) resolved.run_at = now + task.delay;
  if (resolved.run_at <= now) resolved.run_at = 0;
  const Time first_due = std::max(resolved.run_at, now);
  if (task.start_within > 0) resolved.expire_at = first_due + task.start_within;
  if (!task.retry_change.empty()) resolved.retry_policy = task.retry_change.On(queue->settings.retry_policy);
  const uint32_t entry = EntryFor(lane, last_key_.type, task.priority);
  const uint32_t slot = builder_.Add(entry, resolved, now);
  earliest_expiry_ = std::min(earliest_expiry_, resolved.expire_at);
  if (task.life_timeout > 0) earliest_expiry_ = std::min(earliest_expiry_, first_due + task.life_timeout);
  if (resolved.run_at == 0) {
    ++fresh_counts_[entry];
  } else if (!timed_.empty() && timed_.back().lane == lane && timed_.back().due == resolved.run_at &&
             timed_.back().slot + timed_.back().count == slot) {
    ++timed_.back().count;
  } else {
    timed_.push_back({lane, resolved.run_at, slot, 1});
  }
  const TaskId id(context_.state.partition(), context_.state.next().block, slot);
  context_.state.Count(queue, Counter::kEnqueuedTotal, 1);
  if (!unique_key.empty()) {
    records::UniqueRecord record;
    record.set_task_id(id.value());
    if (task.unique_window > 0) {
      record.set_until(now + task.unique_window);
      context_.forgotten[BucketOf(record.until())].push_back(unique_key);
    }
    context_.Put(Family::kIndex, unique_key, record);
  }
  return {id, false};
}

uint32_t Enqueuer::EntryFor(Lane* lane, TypeId type, uint8_t priority) {
  const uint32_t kind = FreshRun::Kind(type, priority);
  auto [found, added] = entries_.try_emplace(lane->id, 0);
  // In a FIFO key's lane another type or priority begins another entry: their order is that of the tasks.
  if (added || (lane->key.fifo && entry_kinds_[found->second] != kind)) {
    const LaneKey& key = lane->key;
    found->second = builder_.AddEntry({lane->id, key.queue, type, priority, key.fifo, key.name, lane->group});
    entry_lanes_.push_back(lane);
    entry_kinds_.push_back(kind);
    fresh_counts_.push_back(0);
  }
  return found->second;
}

void Enqueuer::CloseBlock() {
  if (builder_.empty()) return;
  const BlockId id(context_.state.next().block++);
  const Time now = context_.now.wall;
  std::shared_ptr<const TaskBlock> block = builder_.Finish(id, now);
  const std::string key = context_.keys.Block(id);
  context_.commit.Put(Family::kBlocks, key, SealValue(key, block->body()));
  context_.blocks.Insert(block);
  for (uint32_t entry = 0; entry < entry_lanes_.size(); ++entry) {
    if (fresh_counts_[entry] == 0) continue;
    Lane* lane = entry_lanes_[entry];
    const FreshRun run{id, now, static_cast<uint16_t>(entry), 0, lane->key.fifo ? entry_kinds_[entry] : 0};
    context_.state.AppendRun(lane, run, fresh_counts_[entry]);
    context_.state.Count(lane->queue, Counter::kAvailable, fresh_counts_[entry]);
    if (lane->runs.ShouldSpill()) {
      const std::string segment_key = context_.keys.Segment(lane->id, lane->runs.segment_end());
      context_.PutBody(Family::kIndex, segment_key, EncodeRuns(context_.state.SpillBack(lane), lane->key.fifo));
    }
  }
  for (const TimedRun& run : timed_) {
    timers_.Add(run.lane, run.due, TaskId(context_.state.partition(), id.value(), run.slot), run.count,
                TimerKind::kScheduled);
  }
  if (earliest_expiry_ != kNever) {
    context_.commit.Put(Family::kIndex, context_.keys.Expiry(earliest_expiry_, id), "");
    context_.expiry_added = std::min(context_.expiry_added, earliest_expiry_);
  }
  entry_lanes_.clear();
  entries_.clear();
  entry_kinds_.clear();
  fresh_counts_.clear();
  timed_.clear();
  earliest_expiry_ = kNever;
}

}  // namespace penstock::broker
