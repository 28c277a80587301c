#ifndef PENSTOCK_BROKER_CORE_CORE_STATE_H_
#define PENSTOCK_BROKER_CORE_CORE_STATE_H_

// What the core holds in memory, all of which can be rebuilt from the store: queues, lanes, blocks that have been
// touched, leases. Memory grows with what runs and with lanes that have waiting tasks, not with the backlog.
//
// Every change goes through a method here, which also notes it for the batch's delta (state_codec.h). Replaying
// deltas over a checkpoint gives the same state. Owned by the core, used on the engine's thread only.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/hash/hash.h"
#include "broker/core/core_types.h"
#include "broker/core/effects.h"
#include "broker/core/lane.h"
#include "broker/core/meter.h"
#include "broker/core/queue_times.h"

namespace penstock::broker {

struct QueueState {
  QueueId id;
  std::string name;
  QueueSettings settings;
  bool paused = false;
  bool draining = false;
  Time create_time = 0;
  QueueCounters counters;
  absl::btree_set<LaneId> lanes;
  QueueTimes times;
  std::string newer_record;  // see IfNewer (storage/records.h)
  bool dirty = false;        // counters changed in this batch

  // Bytes of TaskSpec that wait: kept while max_waiting_bytes is set, of tasks in blocks from `bytes_from` on.
  uint64_t waiting_bytes = 0;
  uint64_t bytes_from = 0;
  bool bytes_noted = false;  // they are, or were, in deltas
  uint64_t entering = 0;     // with a limit: tasks in the block that is being built
  bool limited() const { return settings.max_waiting != 0 || settings.max_waiting_bytes != 0; }
  uint64_t waiting() const { return counters.scheduled + counters.available + counters.retryable + entering; }
  bool counts_bytes_of(TaskId task) const { return settings.max_waiting_bytes != 0 && task.block() >= bytes_from; }

  // Its groups share it: each has an account (ready_index.h).
  bool shared = false;
  // What groups get, in thousandths: from settings.group_weights, by NameHash.
  absl::flat_hash_map<uint64_t, uint32_t> weights;
  uint32_t WeightOf(uint64_t group) const {
    auto found = weights.find(group);
    return found == weights.end() ? 1'000 : found->second;
  }
};

// A block of which something has been taken, and which still holds living tasks.
struct BlockState {
  BlockId id;
  uint32_t total = 0;
  uint32_t alive = 0;  // slots whose task is not finished
  bool compacted = false;
  std::vector<uint64_t> finished;  // bitmaps over slots
  std::vector<uint64_t> gone;      // left their lane out of turn; empty until one has
  std::vector<HistoryAddress> finishes;

  static bool Test(const std::vector<uint64_t>& bits, uint32_t slot) {
    return slot / 64 < bits.size() && (bits[slot / 64] >> slot % 64 & 1) != 0;
  }
  bool is_finished(uint32_t slot) const { return Test(finished, slot); }
  bool is_gone(uint32_t slot) const { return Test(gone, slot); }
};

// What can happen to a lane's runs; noted in order, so that a replay does exactly the same.
enum class RunOperation : uint8_t {
  kAppend = 1,       // varint(block) signed(since) varint(entry), in a FIFO lane varint(kind)
  kSpill = 2,        // back became a segment
  kPop = 3,          // the front run is done with
  kLoadSegment = 4,  // the first segment was read
};

inline constexpr uint32_t kNoLease = UINT32_MAX;

// A running task. Leases of a session form a list in the order of delivery.
struct Lease {
  TaskId task;
  FencingToken token;
  SessionNumber session;
  QueueId queue;
  TypeId type;
  uint8_t priority = 0;
  bool fifo = false;     // its lane is that of its key
  bool metered = false;  // it is counted by throttles (meters.h)
  uint16_t attempt = 1;
  uint16_t cost = 1;         // for throttles
  bool exceptional = false;  // has a TaskRecord
  bool started = false;
  bool cancel_requested = false;
  bool stuck = false;
  Time create_time = 0;
  Time start_time = 0;      // wall time; when delivered, until it is started
  Time available_time = 0;  // since when it had waited; 0 after a recovery
  // From the task's slot; read again after a recovery.
  bool details_known = false;
  bool has_unique_key = false;
  Span result_retention = -1;  // -1: the queue's
  uint32_t previous = kNoLease;
  uint32_t next = kNoLease;
  uint64_t lane_name = 0;  // as in its lane's key
  uint64_t group = 0;      // as Lane::group; 0 after a recovery
  Span charged = 0;        // of its group's account (ready_index.h), to be settled at its end; 0: nothing

  bool is_settled_at_end() const { return charged > 0 || metered; }
  LaneKey lane() const {
    return fifo ? LaneKey::Fifo(queue, lane_name) : LaneKey{queue, type, priority, false, lane_name};
  }
};

struct LeaseList {
  uint32_t first = kNoLease;
  uint32_t last = kNoLease;
  uint32_t count = 0;
  uint32_t started = 0;
};

// Numbers that are given out once.
struct NextNumbers {
  uint64_t block = 1;
  uint32_t lane = 1;
  uint32_t queue = 1;
  uint32_t type = 1;
  uint64_t session = 1;
};

enum class Counter : uint8_t {
  kScheduled,
  kAvailable,
  kRunning,
  kRetryable,
  kDead,
  kEnqueuedTotal,
  kCompletedTotal,
  kFailedTotal,
  kCancelledTotal,
  kDeadTotal,
};
inline constexpr int kCounterCount = 10;
inline uint64_t& CounterOf(QueueCounters& counters, Counter counter) {
  switch (counter) {
    case Counter::kScheduled:
      return counters.scheduled;
    case Counter::kAvailable:
      return counters.available;
    case Counter::kRunning:
      return counters.running;
    case Counter::kRetryable:
      return counters.retryable;
    case Counter::kDead:
      return counters.dead;
    case Counter::kEnqueuedTotal:
      return counters.enqueued_total;
    case Counter::kCompletedTotal:
      return counters.completed_total;
    case Counter::kFailedTotal:
      return counters.failed_total;
    case Counter::kCancelledTotal:
      return counters.cancelled_total;
    case Counter::kDeadTotal:
      return counters.dead_total;
  }
  std::abort();
}

// How a task left the lease table or its slot.
struct Ending {
  bool lease_removed = false;
  bool slot_finished = false;
  uint32_t bucket = 0;  // its history stands in this bucket of this commit; 0: it has none
};

class CoreState {
 public:
  explicit CoreState(uint8_t partition) : partition_(partition) {}
  CoreState(const CoreState&) = delete;
  CoreState& operator=(const CoreState&) = delete;

  uint8_t partition() const { return partition_; }
  NextNumbers& next() { return next_; }

  // --- queues and types ---
  QueueState* FindQueue(std::string_view name);
  QueueState* FindQueue(QueueId id);
  QueueState* AddQueue(QueueId id, std::string name);
  void RemoveQueue(QueueState* queue);
  const absl::btree_map<std::string, std::unique_ptr<QueueState>, std::less<>>& queues() const { return queues_; }
  void Count(QueueState* queue, Counter counter, int64_t change) {
    if (change == 0) return;
    CounterOf(queue->counters, counter) += static_cast<uint64_t>(change);
    MarkDirty(queue);
  }
  // The task's spec waits in the queue from now on, or, negative, no more. Nothing where that is not counted.
  void CountBytes(QueueState* queue, TaskId task, int64_t size) {
    if (queue->counts_bytes_of(task)) SetBytes(queue, queue->waiting_bytes + static_cast<uint64_t>(size));
  }
  void SetBytes(QueueState* queue, uint64_t bytes);

  // A type of which a worker with certain labels (LabelText) is asked for is another type: what orders tasks knows
  // nothing of labels. Empty id: unknown.
  TypeId FindType(std::string_view name, std::string_view labels = {}) const;
  // The plain name.
  std::string_view TypeName(TypeId id) const;
  std::string_view TypeLabels(TypeId id) const;
  // The one that stands for all types of the same name where they count together: throttles, usual run times. The
  // oldest of them.
  TypeId BaseType(TypeId id) const { return labelled_types_ ? FindBaseType(TypeName(id)) : id; }
  TypeId FindBaseType(std::string_view name) const;
  void AddType(TypeId id, std::string name, std::string labels);
  size_t type_count() const { return type_names_.size(); }

  // --- lanes ---
  Lane* FindLane(const LaneKey& key);
  Lane* FindLane(LaneId id);
  // Notes that the lane exists from this batch on. `group`: see Lane::group.
  Lane* CreateLane(const LaneKey& key, uint64_t group);
  // Takes an empty or purged lane out. Its stored segments are garbage from then on.
  void RemoveLane(Lane* lane);
  const absl::btree_map<LaneId, std::unique_ptr<Lane>>& lanes() const { return lanes_; }
  void AppendRun(Lane* lane, const FreshRun& run, uint32_t tasks);
  // The front run was taken as a whole. REQUIRES: runs.has_front().
  void PopRun(Lane* lane);
  void SetFrontPosition(Lane* lane, uint16_t position);
  void ChangeFresh(Lane* lane, int64_t change);
  void ChangeTimed(Lane* lane, int64_t count, int64_t due);
  void SetDueCursor(Lane* lane, const TimerPosition& cursor);
  void MarkDirty(Lane* lane) {
    if (lane->change < 0) NoteChange(lane);
  }
  static LaneTimers& TimersOf(Lane* lane);
  // Moves the back of the lane's runs out: the caller stores it as segment number segment_end - 1. Called when
  // ShouldSpill.
  std::vector<FreshRun> SpillBack(Lane* lane);
  // The next stored segment has been read.
  void LoadSegment(Lane* lane, std::vector<FreshRun> runs);
  // Who has the lane's FIFO key; nullopt: nobody.
  void SetHold(Lane* lane, const std::optional<KeyHold>& hold);

  // --- blocks ---
  BlockState* FindBlock(BlockId id);
  // The state of a block that has `total` slots; made at the first call.
  BlockState* TouchBlock(BlockId id, uint32_t total);
  void MarkGone(BlockState* block, uint32_t slot);
  void MarkCompacted(BlockState* block);
  // The block's last task is finished.
  void RemoveBlock(BlockState* block);
  const absl::btree_map<BlockId, std::unique_ptr<BlockState>>& blocks() const { return blocks_; }

  // --- leases ---
  Lease* FindLease(TaskId task);
  Lease& LeaseAt(uint32_t index) { return leases_[index]; }
  LeaseList& LeasesOf(SessionNumber session);
  // Adds it to its session's list and notes it.
  Lease* AddLease(const Lease& lease);
  void Start(Lease* lease, Time start_time);
  // The same for a lease that ends in this step: nobody will read of its start.
  void StartEnding(Lease* lease, Time start_time);
  void RequestCancel(Lease* lease);
  // The task has a TaskRecord from now on.
  void MakeExceptional(Lease* lease);
  size_t lease_count() const { return lease_index_.size(); }
  // Session by session in the order of their numbers, each in the order of delivery.
  void ForEachLease(absl::FunctionRef<void(const Lease&)> visit) const;
  // Notes what happened to a task: removes its lease, marks its slot finished in `block` (may be null if neither slot
  // nor bucket is concerned).
  void End(TaskId task, const Ending& ending, BlockState* block, uint64_t sequence);
  void ForgetSession(SessionNumber session);

  // --- meters ---
  // What a throttle's meter keeps beyond a restart; none: the default.
  MeterTimes TimesOf(const MeterKey& key) const;
  void SetTimes(const MeterKey& key, const MeterTimes& times);
  // Forgets some of what says nothing any more: called once for each meter that gets times, so that they do not heap
  // up.
  void PruneTimes(Time now);
  const absl::btree_map<MeterKey, MeterTimes>& meter_times() const { return meter_times_; }

  // Stored segments of lanes that are gone: {lane, first, end}. Deleted with the next checkpoint.
  struct SegmentGarbage {
    LaneId lane;
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  std::vector<SegmentGarbage>& segment_garbage() { return segment_garbage_; }

  // Lanes of purged queues, whose slots are still to be finished block by block (janitor.h).
  struct PurgedLane {
    LaneId lane;
    std::vector<FreshRun> runs;  // from the back: the last is handled next
    uint64_t segment_begin = 0;
    uint64_t segment_end = 0;
    uint64_t timed_count = 0;  // timers left in the store
    bool fifo = false;
  };
  const std::vector<PurgedLane>& purged_lanes() const { return purged_lanes_; }
  // Takes a lane out with all that waits in it.
  void PurgeLane(Lane* lane);
  // For the janitor, and for recovery: the last purged lane's last run is done with; the lane's next segment has been
  // read; the lane is done with.
  void PopPurgedRun();
  void LoadPurgedSegment(std::vector<FreshRun> runs);
  void RemovePurgedLane();

  // What changed in this batch, for the codec; cleared by ClearChanges.
  struct Changes {
    std::vector<QueueState*> queues;
    struct LaneChange {
      LaneId lane;
      LaneKey key;
      uint64_t group = 0;
      bool created = false;
      // What happened to its runs, in order: see state_codec.h.
      std::string operations;
    };
    std::vector<LaneChange> lanes;  // may have been removed since
    std::vector<LaneId> removed_lanes;
    std::vector<std::pair<BlockId, uint32_t>> touched_blocks;
    std::vector<TaskId> gone;
    std::vector<BlockId> compacted_blocks;
    std::vector<uint32_t> leased;        // for LeaseAt: nothing ends in the batch that delivers it
    std::vector<TaskId> updated_leases;  // started, asked to cancel, made exceptional
    std::vector<std::pair<TaskId, Ending>> endings;
    // Purge: lane and operation, as in LaneChange::operations; an empty list of operations: the lane was removed.
    std::string purge_operations;
    std::vector<LaneId> purged_lanes;
    absl::btree_set<MeterKey> meters;
    void Clear();
    bool empty() const;
  };
  Changes& changes() { return changes_; }
  void ClearChanges();

  // For recovery: puts things in place without noting a change.
  Lane* RestoreLane(LaneId id, const LaneKey& key, uint64_t group);
  Lease* RestoreLease(const Lease& lease);
  void RestorePurgedLane(PurgedLane lane) { purged_lanes_.push_back(std::move(lane)); }

 private:
  void MarkDirty(QueueState* queue) {
    if (queue->dirty) return;
    queue->dirty = true;
    changes_.queues.push_back(queue);
  }
  void NoteChange(Lane* lane);
  uint32_t FindLeaseIndex(TaskId task);
  uint32_t PutLease(const Lease& lease);
  void RemoveLease(uint32_t index);
  void NoteOperation(Lane* lane, RunOperation operation);

  const uint8_t partition_;
  NextNumbers next_;
  absl::btree_map<std::string, std::unique_ptr<QueueState>, std::less<>> queues_;
  absl::flat_hash_map<QueueId, QueueState*> queues_by_id_;
  // Most look-ups repeat the one before.
  QueueState* last_queue_ = nullptr;

  absl::flat_hash_map<std::string, TypeId> types_;  // by names, and for those with labels by both
  struct TypeTexts {
    std::string name;
    std::string labels;
  };
  absl::btree_map<TypeId, TypeTexts> type_names_;
  absl::flat_hash_map<std::string, TypeId> base_types_;
  bool labelled_types_ = false;
  absl::btree_map<LaneId, std::unique_ptr<Lane>> lanes_;
  // By their keys, without a copy of them.
  struct HashLane {
    using is_transparent = void;
    size_t operator()(const LaneKey& key) const { return absl::Hash<LaneKey>()(key); }
    size_t operator()(const Lane* lane) const { return (*this)(lane->key); }
  };
  struct SameLane {
    using is_transparent = void;
    static const LaneKey& KeyOf(const LaneKey& key) { return key; }
    static const LaneKey& KeyOf(const Lane* lane) { return lane->key; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return KeyOf(a) == KeyOf(b);
    }
  };
  absl::flat_hash_set<Lane*, HashLane, SameLane> lanes_by_key_;
  absl::btree_map<BlockId, std::unique_ptr<BlockState>> blocks_;
  BlockState* last_block_ = nullptr;  // most look-ups repeat the one before
  std::vector<Lease> leases_;
  std::vector<uint32_t> free_leases_;
  absl::flat_hash_map<TaskId, uint32_t> lease_index_;
  uint32_t last_lease_ = kNoLease;  // that was looked up last
  absl::btree_map<SessionNumber, std::unique_ptr<LeaseList>> lease_lists_;
  // Most look-ups repeat the one before.
  SessionNumber last_session_;
  LeaseList* last_list_ = nullptr;
  absl::btree_map<MeterKey, MeterTimes> meter_times_;
  // What is over is looked for from here, a little with each change.
  MeterKey prune_hand_;
  std::vector<SegmentGarbage> segment_garbage_;
  std::vector<PurgedLane> purged_lanes_;
  Changes changes_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_CORE_STATE_H_
