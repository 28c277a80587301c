#include "broker/core/janitor.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "broker/core/state_codec.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr int kTasksPerTick = 256;
constexpr int kBlocksPerTick = 4;
constexpr int kListsPerTick = 16;
constexpr int kPurgedRunsPerTick = 64;
constexpr int kQueuesPerLook = 256;
// A block is worth compacting when it is at least this large, this old, and less than half alive.
constexpr size_t kCompactBytes = 4 << 10;
constexpr Span kCompactAge = kMinute;
constexpr Span kCompactPause = kSecond;
constexpr int kBlocksPerLook = 64;

}  // namespace

Time Janitor::FirstTime(char kind) {
  Time first = kNever;
  absl::Status status = context_.commit.Scan(Family::kIndex, context_.keys.First(kind), context_.keys.Past(kind),
                                             [&](std::string_view key, auto) {
                                               Decoder decoder(key);
                                               decoder.Raw(2);
                                               first = static_cast<Time>(decoder.Big64());
                                               return false;
                                             });
  if (!status.ok()) context_.Unreadable(status, "index");
  return first;
}

void Janitor::Restore() {
  next_retention_ = FirstTime('R');
  next_expiry_ = FirstTime('E');
}

Time Janitor::next_due() const {
  return std::min(
      {next_retention_, next_expiry_, next_bucket_, context_.state.blocks().empty() ? kNever : next_compaction_});
}

bool Janitor::Tick() {
  next_retention_ = std::min(next_retention_, std::exchange(context_.retention_added, kNever));
  next_expiry_ = std::min(next_expiry_, std::exchange(context_.expiry_added, kNever));
  bool done = true;
  if (next_expiry_ <= context_.now.wall) done = ExpireTasks() && done;
  if (next_retention_ <= context_.now.wall) done = ForgetTasks() && done;
  if (next_bucket_ <= context_.now.wall) done = ForgetBuckets() && done;
  if (!context_.state.purged_lanes().empty()) done = ClearPurged() && done;
  if (context_.queue_deleted) done = ClearDeletedQueues() && done;
  if (next_compaction_ <= context_.now.wall) CompactBlock();
  // What the above added is due later, or at once with a retention of 0.
  next_retention_ = std::min(next_retention_, std::exchange(context_.retention_added, kNever));
  return done && next_retention_ > context_.now.wall;
}

bool Janitor::ForgetTasks() {
  std::vector<std::pair<Time, TaskId>> due;
  next_retention_ = kNever;
  absl::Status status = context_.commit.Scan(Family::kIndex, context_.keys.First('R'), context_.keys.Past('R'),
                                             [&](std::string_view key, auto) {
                                               Decoder decoder(key);
                                               decoder.Raw(2);
                                               const Time time = static_cast<Time>(decoder.Big64());
                                               if (time > context_.now.wall || due.size() == kTasksPerTick) {
                                                 next_retention_ = time;
                                                 return false;
                                               }
                                               due.emplace_back(time, TaskId(decoder.Big64()));
                                               return true;
                                             });
  if (!status.ok()) {
    context_.Unreadable(status, "retention index");
    next_retention_ = context_.now.wall + kMinute;
  }
  for (const auto& [time, task] : due) {
    auto record = GetRecord<records::TaskRecord>(context_.commit, Family::kTasks, context_.keys.TaskRecord(task));
    if (record.ok() && record->forget_time() == time) {
      lifecycle_.Forget(task, *record, Lifecycle::Forgetting::kRetentionEnded);
    } else {
      // Unreadable, or left over: out of the way, or every tick would find it.
      if (!record.ok() && !absl::IsNotFound(record.status()))
        context_.Unreadable(record.status(), "task " + task.ToString());
      context_.commit.Delete(Family::kIndex, context_.keys.Retention(time, task));
    }
  }
  return next_retention_ > context_.now.wall;
}

// Whole buckets: their history goes by one range, the keys that their lists name one by one.
bool Janitor::ForgetBuckets() {
  const auto passed = static_cast<uint32_t>(context_.now.wall / kMinute);  // buckets up to this one have ended
  std::vector<std::pair<std::string, std::string>> lists;
  bool more = false;
  absl::Status status =
      context_.commit.Scan(Family::kIndex, context_.keys.First('X'), context_.keys.ExpiryList(passed + 1, 0),
                           [&](std::string_view key, std::string_view value) {
                             if (lists.size() == kListsPerTick) {
                               more = true;
                               return false;
                             }
                             lists.emplace_back(key, value);
                             return true;
                           });
  if (!status.ok()) context_.Unreadable(status, "expiry lists");
  for (const auto& [key, value] : lists) {
    context_.commit.Delete(Family::kIndex, key);
    auto body = OpenValue(key, value);
    if (!body.ok()) {
      context_.Unreadable(body.status(), "expiry list");
      continue;
    }
    Decoder decoder(*body);
    while (decoder.ok() && !decoder.done()) {
      const std::string target(decoder.Bytes());
      // A unique key, or a request id, may have been taken anew since.
      const char kind = target.size() > 1 ? target[1] : '\0';
      if (kind == 'U') {
        auto record = GetRecord<records::UniqueRecord>(context_.commit, Family::kIndex, target);
        if (!record.ok() || record->until() == 0 || record->until() > context_.now.wall) continue;
      } else if (kind == 'Q') {
        auto record = GetRecord<records::RequestRecord>(context_.commit, Family::kIndex, target);
        if (!record.ok() || record->until() > context_.now.wall) continue;
      }
      context_.commit.Delete(Family::kIndex, target);
    }
  }
  if (more) return false;
  const std::string first = context_.keys.History(0, 0);
  const std::string end = context_.keys.History(passed + 1, 0);
  bool any = false;
  status = context_.commit.Scan(Family::kHistory, first, end, [&](auto, auto) {
    any = true;
    return false;
  });
  if (!status.ok()) context_.Unreadable(status, "history");
  if (any) context_.commit.DeleteRange(Family::kHistory, first, end);
  next_bucket_ = EndOfBucket(passed + 1);
  return true;
}

bool Janitor::ExpireTasks() {
  std::vector<std::pair<Time, BlockId>> due;
  next_expiry_ = kNever;
  absl::Status status = context_.commit.Scan(Family::kIndex, context_.keys.First('E'), context_.keys.Past('E'),
                                             [&](std::string_view key, auto) {
                                               Decoder decoder(key);
                                               decoder.Raw(2);
                                               const Time time = static_cast<Time>(decoder.Big64());
                                               if (time > context_.now.wall || due.size() == kBlocksPerTick) {
                                                 next_expiry_ = time;
                                                 return false;
                                               }
                                               due.emplace_back(time, BlockId(decoder.Big64()));
                                               return true;
                                             });
  if (!status.ok()) {
    context_.Unreadable(status, "expiry index");
    next_expiry_ = context_.now.wall + kMinute;
  }
  for (const auto& [time, id] : due) {
    context_.commit.Delete(Family::kIndex, context_.keys.Expiry(time, id));
    const BlockState* state = context_.state.FindBlock(id);
    auto block = context_.blocks.Load(id, state != nullptr && state->compacted);
    if (!block.ok()) continue;  // finished; or damaged, which its delivery reports
    Time next = kNever;
    for (uint32_t slot = 0; slot < (*block)->slot_count(); ++slot) {
      state = context_.state.FindBlock(id);
      if (state != nullptr && state->is_finished(slot)) continue;
      // What was changed since its enqueue may expire although its slot does not say so; it has left its place.
      const bool may_be_changed = state != nullptr && state->is_gone(slot);
      const SlotExtras& extras = (*block)->extras(slot);
      if (extras.expire_at == kNever && extras.life_timeout == 0 && !may_be_changed) continue;
      const TaskId task(context_.state.partition(), id.value(), slot);
      if (context_.state.FindLease(task) != nullptr) continue;  // given back, it is looked at again
      auto stored = lifecycle_.Load(task);
      if (!stored.ok()) continue;
      if (stored->block == nullptr) continue;
      if (stored->record && IsFinal(static_cast<State>(stored->record->state()))) continue;
      const Lifecycle::Deadline deadline =
          Lifecycle::DeadlineOf(stored->extras(), (*block)->create_time(), stored->record ? &*stored->record : nullptr);
      if (deadline.time > context_.now.wall) {
        next = std::min(next, deadline.time);
      } else {
        lifecycle_.Expire(*stored, true, deadline.reason);
      }
    }
    if (next != kNever) {
      context_.commit.Put(Family::kIndex, context_.keys.Expiry(next, id), "");
      next_expiry_ = std::min(next_expiry_, next);
    }
  }
  return next_expiry_ > context_.now.wall;
}

bool Janitor::FinishPurgedRun(const FreshRun& run) {
  const BlockState* known = context_.state.FindBlock(run.block);
  auto block = context_.blocks.Load(run.block, known != nullptr && known->compacted);
  if (!block.ok()) return false;
  const auto slots = (*block)->FreshSlots(run.entry);
  BlockState* state = context_.state.TouchBlock(run.block, (*block)->slot_count());
  for (size_t position = run.position; position < slots.size(); ++position) {
    if (state->is_gone(slots[position])) continue;
    const bool last = state->alive == 1;
    lifecycle_.FinishPurged(TaskId(context_.state.partition(), run.block.value(), slots[position]), **block, state);
    if (last) return true;  // the block's state is gone
  }
  return true;
}

bool Janitor::ClearPurged() {
  // A lane that was purged in this batch is written to its delta as it is now.
  if (!context_.state.changes().purged_lanes.empty()) return false;
  for (int i = 0; i < kPurgedRunsPerTick && !context_.state.purged_lanes().empty(); ++i) {
    const CoreState::PurgedLane& purged = context_.state.purged_lanes().back();
    const LaneId lane = purged.lane;
    if (!purged.runs.empty()) {
      FinishPurgedRun(purged.runs.back());
      context_.state.PopPurgedRun();
      continue;
    }
    if (purged.segment_begin < purged.segment_end) {
      const std::string key = context_.keys.Segment(lane, purged.segment_begin);
      std::vector<FreshRun> runs;
      if (auto value = context_.commit.Get(Family::kIndex, key); value.ok()) {
        if (auto body = OpenValue(key, *value); body.ok()) {
          if (auto decoded = DecodeRuns(*body, purged.fifo); decoded.ok()) runs = *std::move(decoded);
        }
      }
      context_.state.LoadPurgedSegment(std::move(runs));
      continue;
    }
    // Its timers: some at a time, until none is left.
    std::vector<std::pair<std::string, TimerRun>> timers;
    absl::Status status =
        context_.commit.Scan(Family::kIndex, context_.keys.FirstOfLane('T', lane), context_.keys.PastLane('T', lane),
                             [&](std::string_view key, std::string_view value) {
                               const TimerKey timer = ParseTimerKey(key);
                               TimerRun run{{timer.due, timer.task}, 1, TimerKind::kScheduled};
                               if (auto body = OpenValue(key, value); body.ok())
                                 DecodeTimer(*body, &run.count, &run.kind);
                               timers.emplace_back(key, run);
                               return timers.size() < kTasksPerTick;
                             });
    if (!status.ok()) context_.Unreadable(status, "timers");
    if (timers.empty()) {
      context_.state.RemovePurgedLane();
      continue;
    }
    for (const auto& [key, run] : timers) {
      context_.commit.Delete(Family::kIndex, key);
      for (uint32_t offset = 0; offset < run.count; ++offset) {
        const TaskId task(run.position.task.value() + offset);
        auto record = GetRecord<records::TaskRecord>(context_.commit, Family::kTasks, context_.keys.TaskRecord(task));
        if (record.ok()) {
          if (run.kind != TimerKind::kScheduled) lifecycle_.Forget(task, *record, Lifecycle::Forgetting::kPurged);
        } else if (BlockState* state = lifecycle_.TouchBlockOf(task);
                   state != nullptr && !state->is_gone(task.slot())) {
          auto block = context_.blocks.Load(state->id, state->compacted);
          if (block.ok()) lifecycle_.FinishPurged(task, **block, state);
        }
      }
    }
    return false;
  }
  return context_.state.purged_lanes().empty();
}

// Finished tasks with a record whose queue is gone. The index has them queue by queue.
bool Janitor::ClearDeletedQueues() {
  for (int i = 0; i < kQueuesPerLook; ++i) {
    QueueId queue;
    std::vector<std::pair<std::string, TaskId>> orphans;
    absl::Status status = context_.commit.Scan(Family::kIndex, context_.keys.DonePrefix(deleted_cursor_, State{}),
                                               context_.keys.Past('D'), [&](std::string_view key, auto) {
                                                 Decoder decoder(key);
                                                 decoder.Raw(1 + 1);
                                                 const QueueId found(decoder.Big32());
                                                 if (!queue.empty() && found != queue) return false;
                                                 queue = found;
                                                 if (context_.state.FindQueue(queue) != nullptr) return false;
                                                 decoder.Raw(1 + 8);
                                                 orphans.emplace_back(key, TaskId(decoder.Big64()));
                                                 return orphans.size() < kTasksPerTick;
                                               });
    if (!status.ok()) context_.Unreadable(status, "index of finished tasks");
    if (queue.empty()) {
      context_.queue_deleted = false;
      deleted_cursor_ = QueueId();
      return true;
    }
    for (const auto& [key, task] : orphans) {
      auto record = GetRecord<records::TaskRecord>(context_.commit, Family::kTasks, context_.keys.TaskRecord(task));
      if (record.ok()) lifecycle_.Forget(task, *record, Lifecycle::Forgetting::kPurged);
      context_.commit.Delete(Family::kIndex, key);  // readable or not: or every tick would find it
    }
    if (!orphans.empty()) return false;
    deleted_cursor_ = QueueId(queue.value() + 1);
  }
  return false;
}

void Janitor::CompactBlock() {
  next_compaction_ = context_.now.wall + kCompactPause;
  auto it = context_.state.blocks().upper_bound(compaction_cursor_);
  for (int i = 0; i < kBlocksPerLook; ++i, ++it) {
    if (it == context_.state.blocks().end()) {
      compaction_cursor_ = BlockId();
      return;
    }
    compaction_cursor_ = it->first;
    BlockState* state = it->second.get();
    if (state->alive * 2 >= state->total) continue;
    auto block = context_.blocks.Load(state->id, state->compacted);
    if (!block.ok() || (*block)->body().size() < kCompactBytes) continue;
    if ((*block)->create_time() + kCompactAge > context_.now.wall) continue;
    uint32_t kept = 0;
    for (uint32_t slot = 0; slot < state->total; ++slot) kept += !(*block)->dropped(slot);
    if (state->alive * 2 >= kept) continue;  // was compacted, and most of what it kept is still alive
    const std::string body = (*block)->Compact([&](uint32_t slot) { return state->is_finished(slot); });
    const std::string key = context_.keys.CompactedBlock(state->id);
    context_.commit.Put(Family::kTasks, key, SealValue(key, body));
    if (!state->compacted) {
      context_.commit.SingleDelete(Family::kBlocks, context_.keys.Block(state->id));
      context_.state.MarkCompacted(state);
    }
    auto compacted = TaskBlock::Parse(body);
    context_.blocks.Erase(state->id);
    if (compacted.ok()) context_.blocks.Insert(*std::move(compacted));
    return;
  }
}

}  // namespace penstock::broker
