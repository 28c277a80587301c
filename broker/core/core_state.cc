#include "broker/core/core_state.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "common/coding.h"
#include "common/text.h"

namespace penstock::broker {
namespace {

void SetBit(std::vector<uint64_t>& bits, uint32_t slot, uint32_t total) {
  if (bits.empty()) bits.resize((total + 63) / 64);
  bits[slot / 64] |= uint64_t{1} << slot % 64;
}

// Names hold no line ends.
std::string LabelledName(std::string_view name, std::string_view labels) {
  std::string both(name);
  both += '\n';
  both += labels;
  return both;
}

}  // namespace

// --- queues and types ---

QueueState* CoreState::FindQueue(std::string_view name) {
  auto found = queues_.find(name);
  return found == queues_.end() ? nullptr : found->second.get();
}

QueueState* CoreState::FindQueue(QueueId id) {
  if (last_queue_ != nullptr && last_queue_->id == id) return last_queue_;
  auto found = queues_by_id_.find(id);
  if (found == queues_by_id_.end()) return nullptr;
  return last_queue_ = found->second;
}

QueueState* CoreState::AddQueue(QueueId id, std::string name) {
  auto queue = std::make_unique<QueueState>();
  queue->id = id;
  queue->name = name;
  QueueState* added = queue.get();
  queues_by_id_[id] = added;
  queues_.emplace(std::move(name), std::move(queue));
  return added;
}

void CoreState::RemoveQueue(QueueState* queue) {
  if (last_queue_ == queue) last_queue_ = nullptr;
  std::erase(changes_.queues, queue);
  queues_by_id_.erase(queue->id);
  queues_.erase(queues_.find(queue->name));
}

void CoreState::SetBytes(QueueState* queue, uint64_t bytes) {
  queue->waiting_bytes = bytes;
  queue->bytes_noted = true;
  MarkDirty(queue);
}

TypeId CoreState::FindType(std::string_view name, std::string_view labels) const {
  auto found = labels.empty() ? types_.find(ToAbsl(name)) : types_.find(LabelledName(name, labels));
  return found == types_.end() ? TypeId() : found->second;
}

std::string_view CoreState::TypeName(TypeId id) const {
  auto found = type_names_.find(id);
  return found == type_names_.end() ? std::string_view() : std::string_view(found->second.name);
}

std::string_view CoreState::TypeLabels(TypeId id) const {
  if (!labelled_types_) return {};
  auto found = type_names_.find(id);
  return found == type_names_.end() ? std::string_view() : std::string_view(found->second.labels);
}

TypeId CoreState::FindBaseType(std::string_view name) const {
  auto found = base_types_.find(ToAbsl(name));
  return found == base_types_.end() ? TypeId() : found->second;
}

void CoreState::AddType(TypeId id, std::string name, std::string labels) {
  if (!labels.empty()) labelled_types_ = true;
  types_[labels.empty() ? name : LabelledName(name, labels)] = id;
  auto [base, added] = base_types_.try_emplace(name, id);
  if (!added) base->second = std::min(base->second, id);
  type_names_[id] = {std::move(name), std::move(labels)};
}

// --- lanes ---

Lane* CoreState::FindLane(const LaneKey& key) {
  auto found = lanes_by_key_.find(key);
  return found == lanes_by_key_.end() ? nullptr : *found;
}

Lane* CoreState::FindLane(LaneId id) {
  auto found = lanes_.find(id);
  return found == lanes_.end() ? nullptr : found->second.get();
}

Lane* CoreState::RestoreLane(LaneId id, const LaneKey& key, uint64_t group) {
  auto lane = std::make_unique<Lane>();
  lane->id = id;
  lane->key = key;
  lane->group = group;
  lane->queue = FindQueue(key.queue);
  if (lane->queue != nullptr) lane->queue->lanes.insert(id);
  Lane* added = lane.get();
  lanes_by_key_.erase(key);  // while a delta is replayed, a predecessor may still be in place
  lanes_by_key_.insert(added);
  lanes_[id] = std::move(lane);
  return added;
}

Lane* CoreState::CreateLane(const LaneKey& key, uint64_t group) {
  Lane* lane = RestoreLane(LaneId(next_.lane++), key, group);
  MarkDirty(lane);
  changes_.lanes[static_cast<size_t>(lane->change)].created = true;
  return lane;
}

void CoreState::NoteChange(Lane* lane) {
  lane->change = static_cast<int32_t>(changes_.lanes.size());
  changes_.lanes.push_back({lane->id, lane->key, lane->group, false, {}});
}

void CoreState::RemoveLane(Lane* lane) {
  const LaneRuns& runs = lane->runs;
  if (runs.segment_deleted() < runs.segment_end()) {
    segment_garbage_.push_back({lane->id, runs.segment_deleted(), runs.segment_end()});
  }
  changes_.removed_lanes.push_back(lane->id);
  if (lane->queue != nullptr) lane->queue->lanes.erase(lane->id);
  // While a delta is replayed, a successor with the same key may be in place already.
  if (auto found = lanes_by_key_.find(lane->key); found != lanes_by_key_.end() && *found == lane)
    lanes_by_key_.erase(found);
  lanes_.erase(lane->id);
}

void CoreState::NoteOperation(Lane* lane, RunOperation operation) {
  MarkDirty(lane);
  changes_.lanes[static_cast<size_t>(lane->change)].operations.push_back(static_cast<char>(operation));
}

void CoreState::AppendRun(Lane* lane, const FreshRun& run, uint32_t tasks) {
  NoteOperation(lane, RunOperation::kAppend);
  lane->runs.Append(run);
  lane->fresh_count += tasks;
  std::string& operations = changes_.lanes[static_cast<size_t>(lane->change)].operations;
  PutVarint(&operations, run.block.value());
  PutSigned(&operations, run.since);
  PutVarint(&operations, run.entry);
  if (lane->key.fifo) PutVarint(&operations, run.kind);
}

std::vector<FreshRun> CoreState::SpillBack(Lane* lane) {
  NoteOperation(lane, RunOperation::kSpill);
  return lane->runs.SpillBack();
}

void CoreState::PopRun(Lane* lane) {
  NoteOperation(lane, RunOperation::kPop);
  lane->runs.Pop();
}

void CoreState::LoadSegment(Lane* lane, std::vector<FreshRun> runs) {
  NoteOperation(lane, RunOperation::kLoadSegment);
  lane->runs.LoadSegment(std::move(runs));
}

void CoreState::SetFrontPosition(Lane* lane, uint16_t position) {
  MarkDirty(lane);
  lane->runs.front().position = position;
}

void CoreState::ChangeFresh(Lane* lane, int64_t change) {
  MarkDirty(lane);
  lane->fresh_count += static_cast<uint64_t>(change);
}

LaneTimers& CoreState::TimersOf(Lane* lane) {
  if (lane->timers == nullptr) lane->timers = std::make_unique<LaneTimers>();
  return *lane->timers;
}

void CoreState::ChangeTimed(Lane* lane, int64_t count, int64_t due) {
  MarkDirty(lane);
  LaneTimers& timers = TimersOf(lane);
  timers.count += static_cast<uint64_t>(count);
  timers.due += static_cast<uint64_t>(due);
}

void CoreState::SetDueCursor(Lane* lane, const TimerPosition& cursor) {
  MarkDirty(lane);
  TimersOf(lane).cursor = cursor;
}

void CoreState::SetHold(Lane* lane, const std::optional<KeyHold>& hold) {
  MarkDirty(lane);
  lane->hold = hold ? std::make_unique<KeyHold>(*hold) : nullptr;
}

// --- purged lanes ---

void CoreState::PurgeLane(Lane* lane) {
  PurgedLane purged;
  purged.lane = lane->id;
  purged.segment_begin = lane->runs.segment_begin();
  purged.segment_end = lane->runs.segment_end();
  purged.timed_count = lane->timed_count();
  purged.fifo = lane->key.fifo;
  auto keep = [&](const FreshRun& run) { purged.runs.push_back(run); };
  lane->runs.VisitFirst(keep);
  lane->runs.VisitBack(keep);
  changes_.purged_lanes.push_back(purged.lane);
  purged_lanes_.push_back(std::move(purged));
  RemoveLane(lane);
}

void CoreState::PopPurgedRun() {
  PurgedLane& purged = purged_lanes_.back();
  purged.runs.pop_back();
  PutVarint(&changes_.purge_operations, purged.lane.value());
  changes_.purge_operations.push_back(static_cast<char>(RunOperation::kPop));
}

void CoreState::LoadPurgedSegment(std::vector<FreshRun> runs) {
  PurgedLane& purged = purged_lanes_.back();
  purged.runs = std::move(runs);
  ++purged.segment_begin;
  PutVarint(&changes_.purge_operations, purged.lane.value());
  changes_.purge_operations.push_back(static_cast<char>(RunOperation::kLoadSegment));
}

void CoreState::RemovePurgedLane() {
  PutVarint(&changes_.purge_operations, purged_lanes_.back().lane.value());
  changes_.purge_operations.push_back(0);
  purged_lanes_.pop_back();
}

// --- blocks ---

BlockState* CoreState::FindBlock(BlockId id) {
  if (last_block_ != nullptr && last_block_->id == id) return last_block_;
  auto found = blocks_.find(id);
  if (found == blocks_.end()) return nullptr;
  return last_block_ = found->second.get();
}

BlockState* CoreState::TouchBlock(BlockId id, uint32_t total) {
  if (BlockState* found = FindBlock(id)) return found;
  auto block = std::make_unique<BlockState>();
  block->id = id;
  block->total = total;
  block->alive = total;
  last_block_ = block.get();
  blocks_[id] = std::move(block);
  changes_.touched_blocks.emplace_back(id, total);
  return last_block_;
}

void CoreState::MarkGone(BlockState* block, uint32_t slot) {
  SetBit(block->gone, slot, block->total);
  changes_.gone.push_back(TaskId(partition_, block->id.value(), slot));
}

void CoreState::MarkCompacted(BlockState* block) {
  block->compacted = true;
  changes_.compacted_blocks.push_back(block->id);
}

void CoreState::RemoveBlock(BlockState* block) {
  if (last_block_ == block) last_block_ = nullptr;
  blocks_.erase(block->id);
}

// --- leases ---

uint32_t CoreState::FindLeaseIndex(TaskId task) {
  if (last_lease_ != kNoLease && leases_[last_lease_].task == task) return last_lease_;
  auto found = lease_index_.find(task);
  if (found == lease_index_.end()) return kNoLease;
  return last_lease_ = found->second;
}

Lease* CoreState::FindLease(TaskId task) {
  const uint32_t index = FindLeaseIndex(task);
  return index == kNoLease ? nullptr : &leases_[index];
}

LeaseList& CoreState::LeasesOf(SessionNumber session) {
  if (last_list_ != nullptr && last_session_ == session) return *last_list_;
  std::unique_ptr<LeaseList>& list = lease_lists_[session];
  if (list == nullptr) list = std::make_unique<LeaseList>();
  last_session_ = session;
  last_list_ = list.get();
  return *list;
}

void CoreState::ForgetSession(SessionNumber session) {
  if (last_session_ == session) last_list_ = nullptr;
  lease_lists_.erase(session);
}

uint32_t CoreState::PutLease(const Lease& lease) {
  uint32_t index;
  if (free_leases_.empty()) {
    index = static_cast<uint32_t>(leases_.size());
    leases_.push_back(lease);
  } else {
    index = free_leases_.back();
    free_leases_.pop_back();
    leases_[index] = lease;
  }
  lease_index_[lease.task] = index;
  LeaseList& list = LeasesOf(lease.session);
  leases_[index].previous = list.last;
  leases_[index].next = kNoLease;
  if (list.last == kNoLease) {
    list.first = index;
  } else {
    leases_[list.last].next = index;
  }
  list.last = index;
  ++list.count;
  if (lease.started) ++list.started;
  return index;
}

Lease* CoreState::RestoreLease(const Lease& lease) { return &leases_[PutLease(lease)]; }

Lease* CoreState::AddLease(const Lease& lease) {
  const uint32_t index = PutLease(lease);
  changes_.leased.push_back(index);
  return &leases_[index];
}

void CoreState::RemoveLease(uint32_t index) {
  Lease& lease = leases_[index];
  LeaseList& list = LeasesOf(lease.session);
  if (lease.previous == kNoLease) {
    list.first = lease.next;
  } else {
    leases_[lease.previous].next = lease.next;
  }
  if (lease.next == kNoLease) {
    list.last = lease.previous;
  } else {
    leases_[lease.next].previous = lease.previous;
  }
  --list.count;
  if (lease.started) --list.started;
  lease_index_.erase(lease.task);
  if (last_lease_ == index) last_lease_ = kNoLease;
  free_leases_.push_back(index);
}

void CoreState::ForEachLease(absl::FunctionRef<void(const Lease&)> visit) const {
  for (const auto& [session, list] : lease_lists_) {
    for (uint32_t index = list->first; index != kNoLease; index = leases_[index].next) visit(leases_[index]);
  }
}

void CoreState::StartEnding(Lease* lease, Time start_time) {
  if (!lease->started) ++LeasesOf(lease->session).started;
  lease->started = true;
  lease->start_time = start_time;
}

void CoreState::Start(Lease* lease, Time start_time) {
  StartEnding(lease, start_time);
  changes_.updated_leases.push_back(lease->task);
}

void CoreState::MakeExceptional(Lease* lease) {
  lease->exceptional = true;
  changes_.updated_leases.push_back(lease->task);
}

void CoreState::RequestCancel(Lease* lease) {
  lease->cancel_requested = true;
  changes_.updated_leases.push_back(lease->task);
}

void CoreState::End(TaskId task, const Ending& ending, BlockState* block, uint64_t sequence) {
  changes_.endings.emplace_back(task, ending);
  if (ending.lease_removed) {
    const uint32_t index = FindLeaseIndex(task);
    if (index != kNoLease) RemoveLease(index);
  }
  if (block == nullptr) return;
  if (ending.slot_finished && !block->is_finished(task.slot())) {
    SetBit(block->finished, task.slot(), block->total);
    --block->alive;
  }
  if (ending.bucket != 0) {
    const HistoryAddress address{ending.bucket, sequence};
    if (block->finishes.empty() || !(block->finishes.back() == address)) block->finishes.push_back(address);
  }
}

// --- meters ---

MeterTimes CoreState::TimesOf(const MeterKey& key) const {
  auto found = meter_times_.find(key);
  return found == meter_times_.end() ? MeterTimes() : found->second;
}

void CoreState::SetTimes(const MeterKey& key, const MeterTimes& times) {
  if (times == MeterTimes()) {
    if (meter_times_.erase(key) == 0) return;
  } else {
    meter_times_[key] = times;
  }
  changes_.meters.insert(key);
}

void CoreState::PruneTimes(Time now) {
  for (int i = 0; i < 2 && !meter_times_.empty(); ++i) {
    auto next = meter_times_.upper_bound(prune_hand_);
    if (next == meter_times_.end()) next = meter_times_.begin();
    prune_hand_ = next->first;
    if (next->second.is_over(now)) SetTimes(prune_hand_, MeterTimes());
  }
}

void CoreState::Changes::Clear() {
  queues.clear();
  lanes.clear();
  removed_lanes.clear();
  touched_blocks.clear();
  gone.clear();
  compacted_blocks.clear();
  leased.clear();
  updated_leases.clear();
  endings.clear();
  purge_operations.clear();
  purged_lanes.clear();
  meters.clear();
}

bool CoreState::Changes::empty() const {
  return queues.empty() && lanes.empty() && removed_lanes.empty() && touched_blocks.empty() && gone.empty() &&
         compacted_blocks.empty() && leased.empty() && updated_leases.empty() && endings.empty() &&
         purge_operations.empty() && purged_lanes.empty() && meters.empty();
}

void CoreState::ClearChanges() {
  for (QueueState* queue : changes_.queues) queue->dirty = false;
  for (const auto& change : changes_.lanes) {
    if (Lane* lane = FindLane(change.lane)) lane->change = -1;
  }
  changes_.Clear();
}

}  // namespace penstock::broker
