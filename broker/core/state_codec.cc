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
}

void PutLaneKey(std::string* out, const LaneKey& key) {
  PutVarint(out, key.queue.value());
  PutVarint(out, key.type.value());
  out->push_back(static_cast<char>(key.priority));
}

LaneKey GetLaneKey(Decoder& decoder) {
  LaneKey key;
  key.queue = QueueId(static_cast<uint32_t>(decoder.Varint()));
  key.type = TypeId(static_cast<uint32_t>(decoder.Varint()));
  key.priority = decoder.Byte();
  return key;
}

void PutLaneCounts(std::string* out, const Lane& lane) {
  PutVarint(out, lane.fresh_count);
  PutVarint(out, lane.timed_count);
  PutVarint(out, lane.timed_due);
  PutSigned(out, lane.due_cursor.due);
  PutVarint(out, lane.due_cursor.task.value());
  PutVarint(out, lane.front_index < lane.front.size() ? lane.front[lane.front_index].position : 0);
}

void GetLaneCounts(Decoder& decoder, Lane* lane) {
  lane->fresh_count = decoder.Varint();
  lane->timed_count = decoder.Varint();
  lane->timed_due = decoder.Varint();
  lane->due_cursor.due = decoder.Signed();
  lane->due_cursor.task = TaskId(decoder.Varint());
  const uint64_t position = decoder.Varint();
  if (lane->front_index < lane->front.size()) {
    lane->front[lane->front_index].position = static_cast<uint16_t>(position);
  }
}

void PutRuns(std::string* out, const FreshRun* begin, const FreshRun* end) {
  PutVarint(out, static_cast<uint64_t>(end - begin));
  for (; begin != end; ++begin) {
    PutVarint(out, begin->block.value());
    PutSigned(out, begin->since);
    PutVarint(out, begin->entry);
    PutVarint(out, begin->position);
  }
}

std::vector<FreshRun> GetRuns(Decoder& decoder) {
  std::vector<FreshRun> runs;
  const uint64_t count = decoder.Varint();
  for (uint64_t i = 0; i < count && decoder.ok(); ++i) {
    FreshRun run;
    run.block = BlockId(decoder.Varint());
    run.since = decoder.Signed();
    run.entry = static_cast<uint16_t>(decoder.Varint());
    run.position = static_cast<uint16_t>(decoder.Varint());
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

class LeaseListEncoder {
 public:
  void Put(const Lease& lease) {
    tasks_.Put(&items_, lease.task);
    PutSigned(&items_, static_cast<int64_t>(lease.token.value() - last_.token.value()));
    const bool as_before = count_ > 0 && lease.session == last_.session && lease.queue == last_.queue &&
                           lease.type == last_.type && lease.priority == last_.priority &&
                           lease.attempt == last_.attempt && lease.create_time == last_.create_time &&
                           lease.start_time == last_.start_time;
    uint8_t flags = as_before ? kAsBefore : 0;
    if (lease.exceptional) flags |= kExceptional;
    if (lease.started) flags |= kStarted;
    if (lease.cancel_requested) flags |= kCancelRequested;
    items_.push_back(static_cast<char>(flags));
    if (!as_before) {
      PutVarint(&items_, lease.session.value());
      PutVarint(&items_, lease.queue.value());
      PutVarint(&items_, lease.type.value());
      items_.push_back(static_cast<char>(lease.priority));
      PutVarint(&items_, lease.attempt);
      PutSigned(&items_, lease.create_time);
      PutSigned(&items_, lease.start_time);
    }
    last_ = lease;
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
  Lease last_;
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
      lease.priority = decoder.Byte();
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
        state->AppendRun(lane, run, 0);
        break;
      }
      case RunOperation::kSpill:
        state->SpillBack(lane);
        break;
      case RunOperation::kPop:
        if (lane->front_index >= lane->front.size()) return absl::DataLossError("a delta pops a run that is not there");
        state->PopRun(lane);
        break;
      case RunOperation::kLoadSegment: {
        ASSIGN_OR_RETURN(std::vector<FreshRun> runs, read_segment(lane->id, lane->segment_begin));
        state->LoadSegment(lane, std::move(runs));
        break;
      }
      case RunOperation::kTurnToBack:
        state->TurnToBack(lane);
        break;
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
      ASSIGN_OR_RETURN(std::vector<FreshRun> runs, read_segment(lane, state->purged_lanes().back().segment_begin));
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
  PutRuns(out, purged.runs.data(), purged.runs.data() + purged.runs.size());
}

}  // namespace

std::string EncodeRuns(const std::vector<FreshRun>& runs) {
  std::string body;
  PutRuns(&body, runs.data(), runs.data() + runs.size());
  return body;
}

absl::StatusOr<std::vector<FreshRun>> DecodeRuns(std::string_view body) {
  Decoder decoder(body);
  std::vector<FreshRun> runs = GetRuns(decoder);
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
    PutLaneKey(&out, change.key);
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
  for (TaskId task : changes.leased) {
    if (const Lease* lease = state.FindLease(task)) leases.Put(*lease);
  }
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
  return out;
}

std::string EncodeCheckpoint(CoreState& state) {
  std::string out;
  PutNext(&out, state.next());
  for (const auto& [name, queue] : state.queues()) PutQueue(&out, *queue);
  for (const auto& [id, lane] : state.lanes()) {
    out.push_back(kLane);
    PutVarint(&out, id.value());
    PutLaneKey(&out, lane->key);
    PutVarint(&out, lane->segment_begin);
    PutVarint(&out, lane->segment_end);
    PutVarint(&out, lane->segment_deleted);
    PutRuns(&out, lane->front.data() + lane->front_index, lane->front.data() + lane->front.size());
    PutRuns(&out, lane->back.data(), lane->back.data() + lane->back.size());
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
      case kLaneChanged: {
        const LaneId id(static_cast<uint32_t>(decoder.Varint()));
        const LaneKey key = GetLaneKey(decoder);
        const std::string_view operations = decoder.Bytes();
        const bool alive = decoder.Byte() != 0;
        if (!decoder.ok()) break;
        Lane* lane = state->FindLane(id);
        if (lane == nullptr) lane = state->RestoreLane(id, key);
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
        purged.runs = GetRuns(decoder);
        state->RestorePurgedLane(std::move(purged));
        break;
      }
      case kPurgeProgress:
        RETURN_IF_ERROR(ReplayPurge(decoder.Bytes(), read_segment, state));
        break;
      case kLane: {
        const LaneId id(static_cast<uint32_t>(decoder.Varint()));
        Lane* lane = state->RestoreLane(id, GetLaneKey(decoder));
        lane->segment_begin = decoder.Varint();
        lane->segment_end = decoder.Varint();
        lane->segment_deleted = decoder.Varint();
        lane->front = GetRuns(decoder);
        lane->back = GetRuns(decoder);
        GetLaneCounts(decoder, lane);
        break;
      }
      case kBlock: {
        const BlockId id(decoder.Varint());
        const uint64_t total = decoder.Varint();
        if (total > TaskId::kSlotsMax) return absl::DataLossError("a checkpoint names a block with too many slots");
        BlockState* block = state->TouchBlock(id, static_cast<uint32_t>(total));
        block->compacted = decoder.Byte() != 0;
        block->finished = GetBits(decoder);
        block->gone = GetBits(decoder);
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
      default:
        return absl::DataLossError("a delta has an unknown section; a newer Penstock wrote it");
    }
  }
  state->ClearChanges();
  if (!decoder.ok()) return absl::DataLossError("a delta is cut short");
  return absl::OkStatus();
}

}  // namespace penstock::broker
