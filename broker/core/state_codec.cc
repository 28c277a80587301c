#include "broker/core/state_codec.h"

#include "broker/storage/history.h"
#include "common/coding.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

enum Section : char {
  kQueueCounters = 1,
  kLaneChanged = 2,
  kLaneRemoved = 3,
  kBlockTouched = 4,
  kSlotsGone = 5,
  kBlockCompacted = 6,
  kLeases = 7,
  kLeasesUpdated = 8,
  kEndings = 9,
  kLanePurged = 10,
  kPurgeProgress = 11,
  kLane = 12,
  kBlock = 13,
  kSegmentGarbage = 14,
  kMeter = 15,
  kWaitingBytes = 16,
};

enum LeaseFlag : uint8_t { kAsBefore = 1, kExceptional = 2, kStarted = 4, kCancelRequested = 8 };
enum EndingFlag : uint8_t { kLeaseRemoved = 1, kSlotFinished = 2, kHasHistory = 4 };

void PutNext(std::string* out, const NextNumbers& next) {
  PutVarint(out, next.block);
  PutVarint(out, next.lane);
  PutVarint(out, next.queue);
  PutVarint(out, next.type);
  PutVarint(out, next.session);
}

void PutQueue(std::string* out, QueueState& queue) {
  out->push_back(kQueueCounters);
  PutVarint(out, queue.id.value());
  for (int i = 0; i < kCounterCount; ++i) PutVarint(out, CounterOf(queue.counters, static_cast<Counter>(i)));
  if (!queue.bytes_noted) return;
  out->push_back(kWaitingBytes);
  PutVarint(out, queue.id.value());
  PutVarint(out, queue.waiting_bytes);
}

// Beside the priority: whether there is a name, and whether it is that of a FIFO key.
enum LaneFlag : uint8_t { kPriority = 0x0f, kNamed = 0x10, kFifo = 0x20 };

void PutPriority(std::string* out, uint8_t priority, bool fifo, uint64_t name) {
  out->push_back(static_cast<char>(priority | (name != 0 ? kNamed : 0) | (fifo ? kFifo : 0)));
  if (name != 0) PutBig64(out, name);
}

void GetPriority(Decoder& decoder, uint8_t* priority, bool* fifo, uint64_t* name) {
  const uint8_t byte = decoder.Byte();
  *priority = byte & kPriority;
  *fifo = (byte & kFifo) != 0;
  *name = (byte & kNamed) != 0 ? decoder.Big64() : 0;
}

void PutLaneKey(std::string* out, const LaneKey& key, uint64_t group) {
  PutVarint(out, key.queue.value());
  PutVarint(out, key.type.value());
  PutPriority(out, key.priority, key.fifo, key.name);
  if (key.fifo) PutBig64(out, group);
}

LaneKey GetLaneKey(Decoder& decoder, uint64_t* group) {
  LaneKey key;
  key.queue = QueueId(static_cast<uint32_t>(decoder.Varint()));
  key.type = TypeId(static_cast<uint32_t>(decoder.Varint()));
  GetPriority(decoder, &key.priority, &key.fifo, &key.name);
  *group = key.fifo ? decoder.Big64() : key.name;
  return key;
}

void PutLaneCounts(std::string* out, const Lane& lane) {
  PutVarint(out, lane.fresh_count);
  PutVarint(out, lane.timed_count());
  PutVarint(out, lane.timed_due());
  const TimerPosition cursor = lane.due_cursor();
  PutSigned(out, cursor.due);
  PutVarint(out, cursor.task.value());
  PutVarint(out, lane.runs.has_front() ? lane.runs.front().position : 0);
  if (!lane.key.fifo) return;
  const KeyHold hold = lane.hold == nullptr ? KeyHold{} : *lane.hold;
  PutVarint(out, hold.task.value());
  if (!hold.task.empty()) PutVarint(out, hold.due == kNever ? 0 : static_cast<uint64_t>(hold.due) + 1);
}

void GetLaneCounts(Decoder& decoder, Lane* lane) {
  lane->fresh_count = decoder.Varint();
  LaneTimers timers;
  timers.count = decoder.Varint();
  timers.due = decoder.Varint();
  timers.cursor.due = decoder.Signed();
  timers.cursor.task = TaskId(decoder.Varint());
  const uint64_t position = decoder.Varint();
  if (lane->runs.has_front()) lane->runs.front().position = static_cast<uint16_t>(position);
  if (lane->timers != nullptr || timers.count != 0 || timers.cursor != TimerPosition()) {
    if (lane->timers == nullptr) lane->timers = std::make_unique<LaneTimers>();
    *lane->timers = timers;
  }
  if (!lane->key.fifo) return;
  KeyHold hold;
  hold.task = TaskId(decoder.Varint());
  lane->hold = nullptr;
  if (hold.task.empty()) return;
  if (const uint64_t due = decoder.Varint(); due != 0) hold.due = static_cast<Time>(due - 1);
  lane->hold = std::make_unique<KeyHold>(hold);
}

void PutRuns(std::string* out, const std::vector<FreshRun>& runs, bool fifo) {
  PutVarint(out, runs.size());
  for (const FreshRun& run : runs) {
    PutVarint(out, run.block.value());
    PutSigned(out, run.since);
    PutVarint(out, run.entry);
    PutVarint(out, run.position);
    if (fifo) PutVarint(out, run.kind);
  }
}

std::vector<FreshRun> GetRuns(Decoder& decoder, bool fifo) {
  std::vector<FreshRun> runs;
  const uint64_t count = decoder.Varint();
  for (uint64_t i = 0; i < count && decoder.ok(); ++i) {
    FreshRun run;
    run.block = BlockId(decoder.Varint());
    run.since = decoder.Signed();
    run.entry = static_cast<uint16_t>(decoder.Varint());
    run.position = static_cast<uint16_t>(decoder.Varint());
    if (fifo) run.kind = static_cast<uint32_t>(decoder.Varint());
    runs.push_back(run);
  }
  return runs;
}

void PutBits(std::string* out, const std::vector<uint64_t>& words) {
  PutVarint(out, words.size());
  for (uint64_t word : words) PutBig64(out, word);
}

std::vector<uint64_t> GetBits(Decoder& decoder) {
  std::vector<uint64_t> words;
  const uint64_t count = decoder.Varint();
  for (uint64_t i = 0; i < count && decoder.ok(); ++i) words.push_back(decoder.Big64());
  return words;
}

// None at all, or a bit for each slot and none beyond.
bool BitsFit(const std::vector<uint64_t>& words, uint64_t slots) {
  if (words.empty()) return true;
  return words.size() == (slots + 63) / 64 && (slots % 64 == 0 || words.back() >> slots % 64 == 0);
}

// Task ids as differences to the one before: neighbours cost one byte.
class TaskDifferences {
 public:
  void Put(std::string* out, TaskId task) {
    PutSigned(out, static_cast<int64_t>(task.value() - last_));
    last_ = task.value();
  }
  TaskId Get(Decoder& decoder) {
    last_ += static_cast<uint64_t>(decoder.Signed());
    return TaskId(last_);
  }

 private:
  uint64_t last_ = 0;
};

void PutMeter(std::string* out, const MeterKey& key, const MeterTimes& times) {
  out->push_back(kMeter);
  PutVarint(out, key.throttle.value());
  PutBig64(out, key.scope);
  PutSigned(out, times.full);
  PutSigned(out, times.cooled_until);
}

class LeaseListEncoder {
 public:
  // The lease stays in its place until the next one was put.
  void Put(const Lease& lease) {
    tasks_.Put(&items_, lease.task);
    const Lease& last = *last_;
    PutSigned(&items_, static_cast<int64_t>(lease.token.value() - last.token.value()));
    const bool as_before = count_ > 0 && lease.session == last.session && lease.queue == last.queue &&
                           lease.type == last.type && lease.priority == last.priority && lease.fifo == last.fifo &&
                           lease.lane_name == last.lane_name && lease.attempt == last.attempt &&
                           lease.create_time == last.create_time && lease.start_time == last.start_time;
    uint8_t flags = as_before ? kAsBefore : 0;
    if (lease.exceptional) flags |= kExceptional;
    if (lease.started) flags |= kStarted;
    if (lease.cancel_requested) flags |= kCancelRequested;
    items_.push_back(static_cast<char>(flags));
    if (!as_before) {
      PutVarint(&items_, lease.session.value());
      PutVarint(&items_, lease.queue.value());
      PutVarint(&items_, lease.type.value());
      PutPriority(&items_, lease.priority, lease.fifo, lease.lane_name);
      PutVarint(&items_, lease.attempt);
      PutSigned(&items_, lease.create_time);
      PutSigned(&items_, lease.start_time);
    }
    last_ = &lease;
    ++count_;
  }
  void Finish(std::string* out) {
    if (count_ == 0) return;
    out->push_back(kLeases);
    PutVarint(out, count_);
    *out += items_;
  }

 private:
  std::string items_;
  uint64_t count_ = 0;
  TaskDifferences tasks_;
  const Lease none_{};
  const Lease* last_ = &none_;
};

void GetLeases(Decoder& decoder, CoreState* state) {
  const uint64_t count = decoder.Varint();
  TaskDifferences tasks;
  Lease lease;
  for (uint64_t i = 0; i < count && decoder.ok(); ++i) {
    lease.task = tasks.Get(decoder);
    lease.token = FencingToken(lease.token.value() + static_cast<uint64_t>(decoder.Signed()));
    const uint8_t flags = decoder.Byte();
    lease.exceptional = (flags & kExceptional) != 0;
    lease.started = (flags & kStarted) != 0;
    lease.cancel_requested = (flags & kCancelRequested) != 0;
    if ((flags & kAsBefore) == 0) {
      lease.session = SessionNumber(decoder.Varint());
      lease.queue = QueueId(static_cast<uint32_t>(decoder.Varint()));
      lease.type = TypeId(static_cast<uint32_t>(decoder.Varint()));
      GetPriority(decoder, &lease.priority, &lease.fifo, &lease.lane_name);
      lease.attempt = static_cast<uint16_t>(decoder.Varint());
      lease.create_time = decoder.Signed();
      lease.start_time = decoder.Signed();
    }
    if (decoder.ok()) state->RestoreLease(lease);
  }
}

absl::Status ReplayRuns(std::string_view operations, Lane* lane, SegmentReader read_segment, CoreState* state) {
  Decoder decoder(operations);
  while (decoder.ok() && !decoder.done()) {
    switch (static_cast<RunOperation>(decoder.Byte())) {
      case RunOperation::kAppend: {
        FreshRun run;
        run.block = BlockId(decoder.Varint());
        run.since = decoder.Signed();
        run.entry = static_cast<uint16_t>(decoder.Varint());
        if (lane->key.fifo) run.kind = static_cast<uint32_t>(decoder.Varint());
        state->AppendRun(lane, run, 0);
        break;
      }
      case RunOperation::kSpill:
        state->SpillBack(lane);
        break;
      case RunOperation::kPop:
        if (!lane->runs.has_front()) return absl::DataLossError("a delta pops a run that is not there");
        state->PopRun(lane);
        break;
      case RunOperation::kLoadSegment: {
        if (lane->runs.has_front() || lane->runs.segment_begin() == lane->runs.segment_end()) {
          return absl::DataLossError("a delta reads a segment that is not there");
        }
        ASSIGN_OR_RETURN(std::vector<FreshRun> runs,
                         read_segment(lane->id, lane->runs.segment_begin(), lane->key.fifo));
        state->LoadSegment(lane, std::move(runs));
        break;
      }
      default:
        return absl::DataLossError("a delta has an unknown run operation");
    }
  }
  return decoder.ok() ? absl::OkStatus() : absl::DataLossError("a delta's run operations are cut short");
}

absl::Status ReplayPurge(std::string_view operations, SegmentReader read_segment, CoreState* state) {
  Decoder decoder(operations);
  while (decoder.ok() && !decoder.done()) {
    const LaneId lane(static_cast<uint32_t>(decoder.Varint()));
    const uint8_t operation = decoder.Byte();
    if (state->purged_lanes().empty() || state->purged_lanes().back().lane != lane) {
      return absl::DataLossError("a delta purges a lane that is not there");
    }
    if (operation == 0) {
      state->RemovePurgedLane();
    } else if (operation == static_cast<uint8_t>(RunOperation::kPop)) {
      if (state->purged_lanes().back().runs.empty())
        return absl::DataLossError("a delta purges a run that is not there");
      state->PopPurgedRun();
    } else {
      const CoreState::PurgedLane& purged = state->purged_lanes().back();
      ASSIGN_OR_RETURN(std::vector<FreshRun> runs, read_segment(lane, purged.segment_begin, purged.fifo));
      state->LoadPurgedSegment(std::move(runs));
    }
  }
  return decoder.ok() ? absl::OkStatus() : absl::DataLossError("a delta's purge is cut short");
}

void PutPurgedLane(std::string* out, const CoreState::PurgedLane& purged) {
  out->push_back(kLanePurged);
  PutVarint(out, purged.lane.value());
  PutVarint(out, purged.segment_begin);
  PutVarint(out, purged.segment_end);
  PutVarint(out, purged.timed_count);
  out->push_back(purged.fifo);
  PutRuns(out, purged.runs, purged.fifo);
}

}  // namespace

std::string EncodeRuns(const std::vector<FreshRun>& runs, bool fifo) {
  std::string body;
  PutRuns(&body, runs, fifo);
  return body;
}

absl::StatusOr<std::vector<FreshRun>> DecodeRuns(std::string_view body, bool fifo) {
  Decoder decoder(body);
  std::vector<FreshRun> runs = GetRuns(decoder, fifo);
  if (!decoder.ok()) return absl::DataLossError("a segment of a lane is broken");
  return runs;
}

std::string EncodeDelta(CoreState& state) {
  CoreState::Changes& changes = state.changes();
  std::string out;
  PutNext(&out, state.next());
  for (QueueState* queue : changes.queues) PutQueue(&out, *queue);
  for (const auto& change : changes.lanes) {
    out.push_back(kLaneChanged);
    PutVarint(&out, change.lane.value());
    PutLaneKey(&out, change.key, change.group);
    PutBytes(&out, change.operations);
    const Lane* lane = state.FindLane(change.lane);
    out.push_back(lane != nullptr);
    if (lane != nullptr) PutLaneCounts(&out, *lane);
  }
  for (LaneId removed : changes.removed_lanes) {
    out.push_back(kLaneRemoved);
    PutVarint(&out, removed.value());
  }
  for (LaneId id : changes.purged_lanes) {
    for (const auto& purged : state.purged_lanes()) {
      if (purged.lane == id) PutPurgedLane(&out, purged);  // the janitor rests in a batch that purges
    }
  }
  if (!changes.purge_operations.empty()) {
    out.push_back(kPurgeProgress);
    PutBytes(&out, changes.purge_operations);
  }
  for (const auto& [block, total] : changes.touched_blocks) {
    out.push_back(kBlockTouched);
    PutVarint(&out, block.value());
    PutVarint(&out, total);
  }
  if (!changes.gone.empty()) {
    out.push_back(kSlotsGone);
    PutVarint(&out, changes.gone.size());
    TaskDifferences tasks;
    for (TaskId task : changes.gone) tasks.Put(&out, task);
  }
  for (BlockId block : changes.compacted_blocks) {
    out.push_back(kBlockCompacted);
    PutVarint(&out, block.value());
  }
  // Endings come before leases: a task that was given back may be lent again in the same batch, but tasks are dealt out
  // last.
  if (!changes.endings.empty()) {
    out.push_back(kEndings);
    PutVarint(&out, changes.endings.size());
    TaskDifferences tasks;
    for (const auto& [task, ending] : changes.endings) {
      tasks.Put(&out, task);
      out.push_back(static_cast<char>((ending.lease_removed ? kLeaseRemoved : 0) |
                                      (ending.slot_finished ? kSlotFinished : 0) |
                                      (ending.bucket != 0 ? kHasHistory : 0)));
      if (ending.bucket != 0) PutVarint(&out, ending.bucket);
    }
  }
  LeaseListEncoder leases;
  for (uint32_t index : changes.leased) leases.Put(state.LeaseAt(index));
  leases.Finish(&out);
  std::string updates;
  uint64_t update_count = 0;
  TaskDifferences update_tasks;
  for (TaskId task : changes.updated_leases) {
    const Lease* lease = state.FindLease(task);
    if (lease == nullptr) continue;
    update_tasks.Put(&updates, task);
    updates.push_back(static_cast<char>((lease->started ? kStarted : 0) |
                                        (lease->cancel_requested ? kCancelRequested : 0) |
                                        (lease->exceptional ? kExceptional : 0)));
    PutSigned(&updates, lease->start_time);
    ++update_count;
  }
  if (update_count > 0) {
    out.push_back(kLeasesUpdated);
    PutVarint(&out, update_count);
    out += updates;
  }
  for (const MeterKey& key : changes.meters) PutMeter(&out, key, state.TimesOf(key));
  return out;
}

std::string EncodeCheckpoint(CoreState& state) {
  std::string out;
  PutNext(&out, state.next());
  for (const auto& [name, queue] : state.queues()) PutQueue(&out, *queue);
  for (const auto& [id, lane] : state.lanes()) {
    out.push_back(kLane);
    PutVarint(&out, id.value());
    PutLaneKey(&out, lane->key, lane->group);
    PutVarint(&out, lane->runs.segment_begin());
    PutVarint(&out, lane->runs.segment_end());
    PutVarint(&out, lane->runs.segment_deleted());
    std::vector<FreshRun> first, back;
    lane->runs.VisitFirst([&](const FreshRun& run) { first.push_back(run); });
    lane->runs.VisitBack([&](const FreshRun& run) { back.push_back(run); });
    PutRuns(&out, first, lane->key.fifo);
    PutRuns(&out, back, lane->key.fifo);
    PutLaneCounts(&out, *lane);
  }
  for (const auto& purged : state.purged_lanes()) PutPurgedLane(&out, purged);
  for (const auto& [id, block] : state.blocks()) {
    out.push_back(kBlock);
    PutVarint(&out, id.value());
    PutVarint(&out, block->total);
    out.push_back(block->compacted);
    PutBits(&out, block->finished);
    PutBits(&out, block->gone);
    PutBytes(&out, EncodeAddresses(block->finishes));
  }
  LeaseListEncoder leases;
  state.ForEachLease([&](const Lease& lease) { leases.Put(lease); });
  leases.Finish(&out);
  for (const auto& garbage : state.segment_garbage()) {
    out.push_back(kSegmentGarbage);
    PutVarint(&out, garbage.lane.value());
    PutVarint(&out, garbage.begin);
    PutVarint(&out, garbage.end);
  }
  for (const auto& [key, times] : state.meter_times()) PutMeter(&out, key, times);
  return out;
}

absl::Status ApplyDelta(std::string_view body, uint64_t sequence, SegmentReader read_segment, CoreState* state) {
  Decoder decoder(body);
  NextNumbers& next = state->next();
  next.block = decoder.Varint();
  next.lane = static_cast<uint32_t>(decoder.Varint());
  next.queue = static_cast<uint32_t>(decoder.Varint());
  next.type = static_cast<uint32_t>(decoder.Varint());
  next.session = decoder.Varint();
  while (decoder.ok() && !decoder.done()) {
    switch (decoder.Byte()) {
      case kQueueCounters: {
        QueueCounters counters;
        QueueState* queue = state->FindQueue(QueueId(static_cast<uint32_t>(decoder.Varint())));
        for (int i = 0; i < kCounterCount; ++i) CounterOf(counters, static_cast<Counter>(i)) = decoder.Varint();
        if (queue != nullptr) queue->counters = counters;  // else it was deleted later
        break;
      }
      case kWaitingBytes: {
        QueueState* queue = state->FindQueue(QueueId(static_cast<uint32_t>(decoder.Varint())));
        const uint64_t bytes = decoder.Varint();
        if (queue != nullptr) state->SetBytes(queue, bytes);
        break;
      }
      case kLaneChanged: {
        const LaneId id(static_cast<uint32_t>(decoder.Varint()));
        uint64_t group = 0;
        const LaneKey key = GetLaneKey(decoder, &group);
        const std::string_view operations = decoder.Bytes();
        const bool alive = decoder.Byte() != 0;
        if (!decoder.ok()) break;
        Lane* lane = state->FindLane(id);
        if (lane == nullptr) lane = state->RestoreLane(id, key, group);
        RETURN_IF_ERROR(ReplayRuns(operations, lane, read_segment, state));
        if (alive) GetLaneCounts(decoder, lane);
        break;
      }
      case kLaneRemoved:
        if (Lane* lane = state->FindLane(LaneId(static_cast<uint32_t>(decoder.Varint())))) state->RemoveLane(lane);
        break;
      case kBlockTouched: {
        const BlockId id(decoder.Varint());
        const uint64_t total = decoder.Varint();
        if (total > TaskId::kSlotsMax) return absl::DataLossError("a delta names a block with too many slots");
        if (decoder.ok()) state->TouchBlock(id, static_cast<uint32_t>(total));
        break;
      }
      case kSlotsGone: {
        const uint64_t count = decoder.Varint();
        TaskDifferences tasks;
        for (uint64_t i = 0; i < count && decoder.ok(); ++i) {
          const TaskId task = tasks.Get(decoder);
          BlockState* block = state->FindBlock(BlockId(task.block()));
          if (block == nullptr || task.slot() >= block->total)
            return absl::DataLossError("a delta names an unknown slot");
          state->MarkGone(block, task.slot());
        }
        break;
      }
      case kBlockCompacted:
        if (BlockState* block = state->FindBlock(BlockId(decoder.Varint()))) state->MarkCompacted(block);
        break;
      case kLeases:
        GetLeases(decoder, state);
        break;
      case kLeasesUpdated: {
        const uint64_t count = decoder.Varint();
        TaskDifferences tasks;
        for (uint64_t i = 0; i < count && decoder.ok(); ++i) {
          Lease* lease = state->FindLease(tasks.Get(decoder));
          const uint8_t flags = decoder.Byte();
          const Time start = decoder.Signed();
          if (lease == nullptr) return absl::DataLossError("a delta updates a lease that is not there");
          if (flags & kStarted) state->Start(lease, start);
          if (flags & kCancelRequested) state->RequestCancel(lease);
          if (flags & kExceptional) state->MakeExceptional(lease);
        }
        break;
      }
      case kEndings: {
        const uint64_t count = decoder.Varint();
        TaskDifferences tasks;
        for (uint64_t i = 0; i < count && decoder.ok(); ++i) {
          const TaskId task = tasks.Get(decoder);
          const uint8_t flags = decoder.Byte();
          Ending ending;
          ending.lease_removed = (flags & kLeaseRemoved) != 0;
          ending.slot_finished = (flags & kSlotFinished) != 0;
          if (flags & kHasHistory) ending.bucket = static_cast<uint32_t>(decoder.Varint());
          BlockState* block = state->FindBlock(BlockId(task.block()));
          if (block != nullptr && task.slot() >= block->total)
            return absl::DataLossError("a delta ends an unknown slot");
          state->End(task, ending, block, sequence);
          if (block != nullptr && block->alive == 0) state->RemoveBlock(block);
        }
        break;
      }
      case kLanePurged: {
        CoreState::PurgedLane purged;
        purged.lane = LaneId(static_cast<uint32_t>(decoder.Varint()));
        purged.segment_begin = decoder.Varint();
        purged.segment_end = decoder.Varint();
        purged.timed_count = decoder.Varint();
        purged.fifo = decoder.Byte() != 0;
        purged.runs = GetRuns(decoder, purged.fifo);
        state->RestorePurgedLane(std::move(purged));
        break;
      }
      case kPurgeProgress:
        RETURN_IF_ERROR(ReplayPurge(decoder.Bytes(), read_segment, state));
        break;
      case kLane: {
        const LaneId id(static_cast<uint32_t>(decoder.Varint()));
        uint64_t group = 0;
        const LaneKey key = GetLaneKey(decoder, &group);
        if (state->FindLane(id) != nullptr) return absl::DataLossError("a checkpoint names a lane twice");
        Lane* lane = state->RestoreLane(id, key, group);
        const uint64_t segment_begin = decoder.Varint();
        const uint64_t segment_end = decoder.Varint();
        const uint64_t segment_deleted = decoder.Varint();
        std::vector<FreshRun> first = GetRuns(decoder, key.fifo);
        lane->runs.Restore(std::move(first), segment_begin, segment_end, segment_deleted, GetRuns(decoder, key.fifo));
        GetLaneCounts(decoder, lane);
        break;
      }
      case kBlock: {
        const BlockId id(decoder.Varint());
        const uint64_t total = decoder.Varint();
        if (total > TaskId::kSlotsMax) return absl::DataLossError("a checkpoint names a block with too many slots");
        if (state->FindBlock(id) != nullptr) return absl::DataLossError("a checkpoint names a block twice");
        BlockState* block = state->TouchBlock(id, static_cast<uint32_t>(total));
        block->compacted = decoder.Byte() != 0;
        block->finished = GetBits(decoder);
        block->gone = GetBits(decoder);
        if (!BitsFit(block->finished, total) || !BitsFit(block->gone, total)) {
          return absl::DataLossError("a checkpoint's block has bits of slots that it does not have");
        }
        for (uint64_t word : block->finished) block->alive -= static_cast<uint32_t>(__builtin_popcountll(word));
        ASSIGN_OR_RETURN(block->finishes, DecodeAddresses(decoder.Bytes()));
        break;
      }
      case kSegmentGarbage: {
        CoreState::SegmentGarbage garbage;
        garbage.lane = LaneId(static_cast<uint32_t>(decoder.Varint()));
        garbage.begin = decoder.Varint();
        garbage.end = decoder.Varint();
        state->segment_garbage().push_back(garbage);
        break;
      }
      case kMeter: {
        MeterKey key;
        key.throttle = ThrottleId(decoder.Varint());
        key.scope = decoder.Big64();
        MeterTimes times;
        times.full = decoder.Signed();
        times.cooled_until = decoder.Signed();
        if (decoder.ok()) state->SetTimes(key, times);
        break;
      }
      default:
        return absl::DataLossError("a delta has an unknown section; a newer Penstock wrote it");
    }
  }
  state->ClearChanges();
  if (!decoder.ok()) return absl::DataLossError("a delta is cut short");
  return absl::OkStatus();
}

}  // namespace penstock::broker
