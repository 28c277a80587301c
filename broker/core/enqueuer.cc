#include "broker/core/enqueuer.h"

#include <algorithm>
#include <utility>

#include "absl/container/btree_set.h"
#include "broker/core/dispatcher.h"
#include "broker/core/state_codec.h"
#include "broker/storage/labels.h"
#include "common/name_hash.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {
namespace {

// Given up beyond what an enqueue brings, where a limit was lowered: so it comes down in bounded steps.
constexpr uint64_t kDropsMax = 1'000;
constexpr uint64_t kDropBytesMax = 16 << 20;
// When a full queue may have room again.
constexpr absl::Duration kFullRetry = absl::Seconds(1);

// What a task is that becomes another in its place: it keeps its unique key, and when it runs if that is to stay.
std::string SpecInPlace(std::string_view before, std::string_view replacing, bool keeps_start) {
  v1::TaskSpec old, spec;
  if (!old.ParseFromArray(before.data(), static_cast<int>(before.size())) ||
      !spec.ParseFromArray(replacing.data(), static_cast<int>(replacing.size()))) {
    return std::string(replacing);  // not the edge's
  }
  spec.mutable_unique_key()->Swap(old.mutable_unique_key());
  if (keeps_start) {
    spec.clear_start();
    if (old.has_run_at()) spec.mutable_run_at()->Swap(old.mutable_run_at());
    if (old.has_delay()) spec.mutable_delay()->Swap(old.mutable_delay());
  }
  return spec.SerializeAsString();
}

// Of the tasks of one command: mostly these are the very same bytes (rpc/convert.cc).
bool IsSame(std::string_view a, std::string_view b) { return a.size() == b.size() && (a.data() == b.data() || a == b); }

void AddRuns(const std::vector<EnqueueResult>& results, records::RequestRecord* record) {
  records::RequestRecord::Run* run = nullptr;
  for (const EnqueueResult& result : results) {
    if (run == nullptr || run->duplicate() != result.duplicate || run->replaced() != result.replaced ||
        run->first_task_id() + run->count() != result.task.value()) {
      run = record->add_runs();
      run->set_first_task_id(result.task.value());
      run->set_duplicate(result.duplicate);
      run->set_replaced(result.replaced);
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

absl::StatusOr<TypeId> Enqueuer::TypeFor(std::string_view name, std::string_view labels) {
  TypeId type = context_.state.FindType(name, labels);
  if (!type.empty()) return type;
  if (context_.state.type_count() >= context_.options.max_types) {
    return LimitReached("limits.types",
                        fmt::format("there are {} task types already, each with a set of worker labels counted; raise "
                                    "limits.types, or put what varies into the payload instead of the type",
                                    context_.options.max_types));
  }
  type = TypeId(context_.state.next().type++);
  context_.state.AddType(type, std::string(name), std::string(labels));
  records::TypeRecord record;
  record.set_name(std::string(name));
  SetLabels(labels, record.mutable_labels());
  context_.Put(Family::kMeta, context_.keys.Type(type), record);
  return type;
}

// Queues and types that were made for a command that is refused later stay, empty: names cost little, a half-made
// enqueue would cost the promise. Draining queues are found before any task is added.
absl::Status Enqueuer::CheckLimits(const std::vector<NewTask>& tasks) {
  std::string_view queue_name, type_name, labels;
  need_.clear();
  for (const NewTask& task : tasks) {
    if (!IsSame(task.queue, queue_name)) {
      queue_name = task.queue;
      ASSIGN_OR_RETURN(QueueState * queue, QueueFor(task.queue));
      if (queue->limited() &&
          std::none_of(need_.begin(), need_.end(), [&](const Need& need) { return need.queue == queue; })) {
        need_.push_back({queue});
      }
      if (queue->draining) {
        return absl::FailedPreconditionError(
            fmt::format("queue {} is draining and takes no tasks; end that with `penstock queue resume {}`", task.queue,
                        task.queue));
      }
    }
    if (!IsSame(task.type, type_name) || !IsSame(task.labels, labels)) {
      type_name = task.type;
      labels = task.labels;
      RETURN_IF_ERROR(TypeFor(task.type, task.labels).status());
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

std::optional<TaskId> Enqueuer::HolderOf(const QueueState& queue, std::string_view unique_key, TaskId ending) {
  auto record =
      GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex, context_.keys.Unique(queue.id, unique_key));
  if (!record.ok()) return std::nullopt;
  const TaskId holder(record->task_id());
  const bool held = record->until() == 0 ? holder != ending : record->until() > context_.now.wall;
  if (!held || lifecycle_.WasPurged(holder)) return std::nullopt;
  return holder;
}

void Enqueuer::MeasureNeed(const std::vector<NewTask>& tasks, TaskId ending, bool exactly) {
  for (Need& need : need_) need = {need.queue};
  absl::btree_set<std::pair<QueueId, std::string>> taken;
  for (const NewTask& task : tasks) {
    const auto need =
        std::find_if(need_.begin(), need_.end(), [&](const Need& one) { return one.queue->name == task.queue; });
    if (need == need_.end()) continue;
    uint64_t bytes = task.spec.size();
    if (exactly && !task.unique_key.empty()) {
      const std::optional<TaskId> holder = HolderOf(*need->queue, task.unique_key, ending);
      const bool again = !taken.emplace(need->queue->id, std::string(task.unique_key)).second;
      if (holder || again) {
        const bool waits =
            holder && !again && lifecycle_.Unfinished(*holder) && context_.state.FindLease(*holder) == nullptr;
        if (waits) {
          ++need->held_tasks;
          need->held_bytes += bytes;
        }
        if (task.unique_conflict == UniqueConflict::kKeep) continue;
        // In its place, so it needs what it is larger; among several of one call, what it is.
        if (holder && !again) {
          const auto stored = lifecycle_.Load(*holder);
          if (!stored.ok() || !lifecycle_.MayBeReplaced(*stored)) continue;  // it stays as it is
          const uint64_t before = need->queue->counts_bytes_of(*holder) ? stored->spec().size() : bytes;
          bytes -= std::min(bytes, before);
          if (waits) need->held_bytes -= bytes;
        }
        need->bytes += bytes;
        continue;
      }
    }
    ++need->tasks;
    need->bytes += bytes;
  }
}

namespace {

// How much is too much, if so much is added to what is there.
uint64_t Excess(uint64_t there, uint64_t added, uint64_t limit) {
  if (limit == 0 || added == 0 || there + added <= limit) return 0;
  return there + added - limit;
}

}  // namespace

absl::Status Enqueuer::CheckRoom(const std::vector<NewTask>& tasks, TaskId ending) {
  const auto is_full = [](const Need& need) {
    const QueueSettings& settings = need.queue->settings;
    return Excess(need.queue->waiting(), need.tasks, settings.max_waiting) > 0 ||
           Excess(need.queue->waiting_bytes, need.bytes, settings.max_waiting_bytes) > 0;
  };
  MeasureNeed(tasks, ending, /*exactly=*/false);
  if (std::none_of(need_.begin(), need_.end(), is_full)) return absl::OkStatus();
  // Those that stand in the block that is being built are in no lane yet.
  CloseBlock();
  MeasureNeed(tasks, ending, /*exactly=*/true);
  for (Need& need : need_) {
    if (!is_full(need)) continue;
    const QueueState& queue = *need.queue;
    const QueueSettings& settings = queue.settings;
    const uint64_t tasks_over = Excess(queue.waiting(), need.tasks, settings.max_waiting);
    const uint64_t bytes_over = Excess(queue.waiting_bytes, need.bytes, settings.max_waiting_bytes);
    const bool by_tasks = tasks_over > 0;
    const std::string limit = by_tasks ? "max_waiting" : "max_waiting_bytes";
    const std::string what =
        by_tasks ? fmt::format("queue {} has {} waiting tasks, and {} more are over its max_waiting of {}", queue.name,
                               queue.waiting(), need.tasks, settings.max_waiting)
                 : fmt::format("queue {} has {} waiting bytes, and {} more are over its max_waiting_bytes of {}",
                               queue.name, queue.waiting_bytes, need.bytes, settings.max_waiting_bytes);
    // What is given up may have had the unique keys of these.
    const uint64_t tasks_most = need.tasks + (settings.drop_oldest ? need.held_tasks : 0);
    const uint64_t bytes_most = need.bytes + (settings.drop_oldest ? need.held_bytes : 0);
    if ((settings.max_waiting != 0 && tasks_most > settings.max_waiting) ||
        (settings.max_waiting_bytes != 0 && bytes_most > settings.max_waiting_bytes)) {
      need.queue->times.refused += need.tasks;
      return LimitReached(limit, what + "; enqueue fewer at once, or raise the limit");
    }
    if (settings.drop_oldest) {
      need.drop_tasks = std::min(tasks_over, need.tasks + kDropsMax);
      need.drop_bytes = std::min(bytes_over, need.bytes + kDropBytesMax);
      // With room for those whose unique keys may be freed by it.
      const uint64_t held_tasks = settings.max_waiting == 0 ? 0 : need.held_tasks;
      const uint64_t held_bytes = settings.max_waiting_bytes == 0 ? 0 : need.held_bytes;
      if (dispatcher_->CanDrop(queue, need.drop_tasks + held_tasks, need.drop_bytes + held_bytes)) continue;
    }
    need.queue->times.refused += need.tasks;
    return LimitReached(limit,
                        what + (settings.drop_oldest ? "; those that wait are scheduled or of FIFO keys, which "
                                                       "are not dropped: try later, or raise the limit"
                                                     : "; try later, add workers, or raise the limit"),
                        kFullRetry);
  }
  return absl::OkStatus();
}

void Enqueuer::MakeRoom() {
  for (const Need& need : need_) {
    if (need.drop_tasks + need.drop_bytes == 0) continue;
    dispatcher_->DropOldest(need.queue, need.drop_tasks, need.drop_bytes);
  }
}

absl::Status Enqueuer::Admit(const std::vector<NewTask>& tasks, TaskId ending) {
  RETURN_IF_ERROR(CheckLimits(tasks));
  return need_.empty() ? absl::OkStatus() : CheckRoom(tasks, ending);
}

std::vector<EnqueueResult> Enqueuer::Add(const std::vector<NewTask>& tasks) {
  if (std::any_of(need_.begin(), need_.end(), [](const Need& need) { return need.drop_tasks + need.drop_bytes > 0; })) {
    std::vector<Need> met = need_;
    MakeRoom();
    // What was given up may have had the unique key of one of these, which needs room of its own then; and so on, at
    // most until all of them are new.
    for (bool more = true; more;) {
      more = false;
      MeasureNeed(tasks, TaskId(), /*exactly=*/true);
      for (size_t i = 0; i < need_.size(); ++i) {
        const QueueSettings& settings = need_[i].queue->settings;
        if (met[i].drop_tasks + met[i].drop_bytes == 0) continue;
        const uint64_t more_tasks =
            settings.max_waiting == 0 ? 0 : need_[i].tasks - std::min(need_[i].tasks, met[i].tasks);
        const uint64_t more_bytes =
            settings.max_waiting_bytes == 0 ? 0 : need_[i].bytes - std::min(need_[i].bytes, met[i].bytes);
        if (more_tasks + more_bytes == 0) continue;
        dispatcher_->DropOldest(need_[i].queue, more_tasks, more_bytes);
        met[i].tasks = std::max(met[i].tasks, need_[i].tasks);
        met[i].bytes = std::max(met[i].bytes, need_[i].bytes);
        more = true;
      }
    }
  }
  std::vector<EnqueueResult> results;
  results.reserve(tasks.size());
  const NewTask* before = nullptr;
  for (const NewTask& task : tasks) {
    if (before == nullptr || !IsSame(task.queue, before->queue) || !IsSame(task.type, before->type) ||
        !IsSame(task.labels, before->labels)) {
      FindPlace(task);
    }
    results.push_back(Add(task));
    before = &task;
  }
  return results;
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
          reply.results.push_back({TaskId(run.first_task_id() + i), run.duplicate(), run.replaced()});
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
  if (absl::Status status = Admit(command.tasks, TaskId()); !status.ok()) {
    context_.ReplyTo(command.ticket, std::move(status));
    return;
  }
  EnqueueReply reply;
  reply.results = Add(command.tasks);
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
  const std::vector<NewTask> tasks = {task};
  RETURN_IF_ERROR(Admit(tasks, TaskId()));
  return Add(tasks).front();
}

bool Enqueuer::Replace(TaskId holder, const NewTask& task, const LaneKey& lane, uint64_t group) {
  CloseBlock();  // it may be in there
  const auto stored = lifecycle_.Load(holder);
  if (!stored.ok() || !lifecycle_.MayBeReplaced(*stored)) return false;
  const bool keeps_start = task.unique_conflict == UniqueConflict::kReplace;
  const std::string spec = SpecInPlace(stored->spec(), task.spec, keeps_start);
  NewTask changed = task;
  changed.spec = spec;
  Lifecycle::TaskChange change;
  change.task = &changed;
  change.lane = lane;
  change.group = group;
  change.type = last_key_.type;
  change.priority = task.priority;
  if (!keeps_start) change.run_at = task.delay > 0 ? context_.now.wall + task.delay : task.run_at;
  return lifecycle_.Change(*stored, change).ok();
}

void Enqueuer::Update(const UpdateTaskCommand& command) {
  auto changed = Change(command);
  if (!changed.ok()) {
    context_.ReplyTo(command.ticket, changed.status());
    return;
  }
  context_.effects.needs_sync = true;
  context_.ReplyTo(command.ticket, *changed);
}

absl::StatusOr<UpdateReply> Enqueuer::Change(const UpdateTaskCommand& command) {
  const NewTask& task = command.changed;
  if (context_.state.FindLease(command.task) != nullptr) {
    return absl::FailedPreconditionError("the task is running, and cannot be changed any more");
  }
  ASSIGN_OR_RETURN(const Lifecycle::StoredTask stored, lifecycle_.LoadUnfinished(command.task));
  if (stored.record && IsFinal(static_cast<State>(stored.record->state()))) {
    return absl::FailedPreconditionError("the task is finished");
  }
  if (stored.block == nullptr) return absl::DataLossError("the task's block is gone");
  const uint32_t revision = stored.record ? stored.record->revision() : 0;
  if (revision != command.revision) {
    return absl::AbortedError(
        fmt::format("the task is at revision {}, not {}: it was changed meanwhile", revision, command.revision));
  }
  ASSIGN_OR_RETURN(QueueState * queue, QueueFor(task.queue));
  const bool moves = queue->id != stored.lane.queue;
  if (moves && queue->draining) {
    return absl::FailedPreconditionError(fmt::format(
        "queue {} is draining and takes no tasks; end that with `penstock queue resume {}`", task.queue, task.queue));
  }
  RETURN_IF_ERROR(lifecycle_.CheckKeyIsFree(stored, *queue));
  if (queue->limited()) {
    const uint64_t before = !moves && queue->counts_bytes_of(stored.id) ? stored.spec().size() : 0;
    const uint64_t added = task.spec.size() - std::min<uint64_t>(task.spec.size(), before);
    if (Excess(queue->waiting(), moves ? 1 : 0, queue->settings.max_waiting) > 0) {
      ++queue->times.refused;
      return LimitReached("max_waiting",
                          fmt::format("queue {} has as many waiting tasks as its max_waiting allows, {}", queue->name,
                                      queue->settings.max_waiting),
                          kFullRetry);
    }
    if (queue->counts_bytes_of(stored.id) &&
        Excess(queue->waiting_bytes, added, queue->settings.max_waiting_bytes) > 0) {
      ++queue->times.refused;
      return LimitReached("max_waiting_bytes",
                          fmt::format("queue {} has {} waiting bytes, and {} more are over its max_waiting_bytes of {}",
                                      queue->name, queue->waiting_bytes, added, queue->settings.max_waiting_bytes),
                          kFullRetry);
    }
  }
  Lifecycle::TaskChange change;
  change.task = &task;
  ASSIGN_OR_RETURN(change.type, TypeFor(task.type, task.labels));
  change.priority = task.priority;
  change.group = task.group.empty() ? 0 : NameHash(task.group);
  change.lane = task.key.empty() ? LaneKey{queue->id, change.type, task.priority, false, change.group}
                                 : LaneKey::Fifo(queue->id, NameHash(task.key));
  if (!command.keep_start) change.run_at = task.delay > 0 ? context_.now.wall + task.delay : task.run_at;
  return lifecycle_.Change(stored, change);
}

void Enqueuer::FindPlace(const NewTask& task) {
  if (task.queue == last_queue_ && task.type == last_type_ && task.labels == last_labels_) return;
  last_queue_ = task.queue;
  last_type_ = task.type;
  last_labels_ = task.labels;
  last_key_.queue = context_.state.FindQueue(task.queue)->id;  // CheckLimits made both
  last_key_.type = context_.state.FindType(task.type, task.labels);
}

NewTask Enqueuer::Settle(const NewTask& task, const QueueState& queue) {
  NewTask settled = task;
  const Time now = context_.now.wall;
  if (task.delay > 0) settled.run_at = now + task.delay;
  if (settled.run_at <= now) settled.run_at = 0;
  const Time first_due = std::max(settled.run_at, now);
  if (task.start_within > 0) settled.expire_at = first_due + task.start_within;
  if (!task.retry_change.empty()) settled.retry_policy = task.retry_change.On(queue.settings.retry_policy);
  earliest_expiry_ = std::min(earliest_expiry_, settled.expire_at);
  if (task.life_timeout > 0) earliest_expiry_ = std::min(earliest_expiry_, first_due + task.life_timeout);
  return settled;
}

EnqueueResult Enqueuer::Add(const NewTask& task) {
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
    if (const std::optional<TaskId> holder = HolderOf(*queue, task.unique_key, TaskId())) {
      const bool replaced = task.unique_conflict != UniqueConflict::kKeep && Replace(*holder, task, lane_key, group);
      return {*holder, true, replaced};
    }
  }
  if (builder_.full() || builder_.bytes() >= context_.options.block_bytes) CloseBlock();
  const Time now = context_.now.wall;
  const uint32_t entry = EntryFor(lane_key, group, task.priority);
  Time run_at = 0;
  uint32_t slot = 0;
  if (task.is_plain()) {
    slot = builder_.AddPlain(entry, task.spec);
  } else {
    const NewTask settled = Settle(task, *queue);
    run_at = settled.run_at;
    slot = builder_.Add(entry, settled, now);
  }
  Lane* lane = entry_lanes_[entry];
  if (run_at == 0) {
    ++fresh_counts_[entry];
  } else if (!timed_.empty() && timed_.back().lane == lane && timed_.back().due == run_at &&
             timed_.back().slot + timed_.back().count == slot) {
    ++timed_.back().count;
  } else {
    timed_.push_back({lane, run_at, slot, 1});
  }
  const TaskId id(context_.state.partition(), context_.state.next().block, slot);
  context_.state.Count(queue, Counter::kEnqueuedTotal, 1);
  if (queue->limited()) {
    ++queue->entering;
    context_.state.CountBytes(queue, id, static_cast<int64_t>(task.spec.size()));
  }
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

uint32_t Enqueuer::EntryFor(const LaneKey& key, uint64_t group, uint8_t priority) {
  const uint32_t kind = FreshRun::Kind(last_key_.type, priority);
  if (last_entry_ < entry_lanes_.size() && entry_lanes_[last_entry_]->key == key && entry_kinds_[last_entry_] == kind) {
    return last_entry_;
  }
  Lane* lane = lifecycle_.LaneFor(key, group);
  auto [found, added] = entries_.try_emplace(lane->id, 0);
  // In a FIFO key's lane another type or priority begins another entry: their order is that of the tasks.
  if (added || (key.fifo && entry_kinds_[found->second] != kind)) {
    found->second = builder_.AddEntry({lane->id, key.queue, last_key_.type, priority, key.fifo, key.name, lane->group});
    entry_lanes_.push_back(lane);
    entry_kinds_.push_back(kind);
    fresh_counts_.push_back(0);
  }
  return last_entry_ = found->second;
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
    entry_lanes_[entry]->queue->entering = 0;
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
