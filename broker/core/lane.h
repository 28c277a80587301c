#ifndef PENSTOCK_BROKER_CORE_LANE_H_
#define PENSTOCK_BROKER_CORE_LANE_H_

// A lane: waiting tasks of one queue in their order. Tasks with a FIFO key share the lane of their key, whatever their
// type and priority; the others share a lane with those of the same type, priority and group. A queue may have
// a million lanes: what is here counts by the byte, and what few lanes need stands behind a pointer.

#include <compare>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "broker/core/core_types.h"

namespace penstock::broker {

struct QueueState;
struct ReadyGroup;  // ready_index.h

struct LaneKey {
  QueueId queue;
  TypeId type;           // of a FIFO key's lane: empty
  uint8_t priority = 0;  // of a FIFO key's lane: 0
  bool fifo = false;
  uint64_t name = 0;  // NameHash of the FIFO key, or of the group; 0: neither

  static LaneKey Fifo(QueueId queue, uint64_t key) { return {queue, TypeId(), 0, true, key}; }

  friend auto operator<=>(const LaneKey&, const LaneKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const LaneKey& key) {
    // Two words: this is looked up for every task.
    return H::combine(std::move(h), uint64_t{key.queue.value()} << 32 | key.type.value(),
                      key.name ^ uint64_t{key.priority} << 1 ^ uint64_t{key.fifo});
  }
};

// A lane's tasks in one block: those of one entry of its directory, so of one type and priority. `position` counts
// within TaskBlock::FreshSlots(entry).
struct FreshRun {
  BlockId block;
  Time since = 0;  // when the block was made
  uint16_t entry = 0;
  uint16_t position = 0;
  // Of a FIFO key's lane, whose key names neither: type in the lower 24 bits, priority above.
  uint32_t kind = 0;

  static constexpr uint32_t kTypesMax = (1 << 24) - 1;
  static uint32_t Kind(TypeId type, uint8_t priority) { return type.value() | uint32_t{priority} << 24; }
  TypeId type() const { return TypeId(kind & kTypesMax); }
  uint8_t priority() const { return static_cast<uint8_t>(kind >> 24); }

  friend bool operator==(const FreshRun&, const FreshRun&) = default;
};

// The runs of a lane, oldest first: the front, those that follow it in memory, the stored segments [segment_begin,
// segment_end), and the back. A lane of a million blocks costs no more memory than one of a few hundred; one with a
// single run, the usual case among many lanes, has nothing but its front.
class LaneRuns {
 public:
  // False although runs are left: the next ones are in the store, see LoadSegment.
  bool has_front() const { return !front_.block.empty(); }
  bool empty() const { return !has_front() && (list_ == nullptr || (list_->segment_begin == list_->segment_end)); }
  const FreshRun& front() const { return front_; }
  FreshRun& front() { return front_; }
  uint64_t segment_begin() const { return list_ == nullptr ? 0 : list_->segment_begin; }
  uint64_t segment_end() const { return list_ == nullptr ? 0 : list_->segment_end; }
  // Segments below are deleted from the store.
  uint64_t segment_deleted() const { return list_ == nullptr ? 0 : list_->segment_deleted; }
  void set_segment_deleted(uint64_t segment) { list_->segment_deleted = segment; }

  void Append(const FreshRun& run);
  // The back has grown so long that it is to be stored as segment number segment_end.
  bool ShouldSpill() const;
  std::vector<FreshRun> SpillBack();
  // The front is done with. REQUIRES: has_front().
  void Pop();
  // Segment number segment_begin has been read. REQUIRES: !has_front().
  void LoadSegment(std::vector<FreshRun> runs);

  // The last of them that is in memory; without a block: there is none.
  const FreshRun& newest() const;

  // Those before the stored segments, and those behind them.
  void VisitFirst(absl::FunctionRef<void(const FreshRun&)> visit) const;
  void VisitBack(absl::FunctionRef<void(const FreshRun&)> visit) const;
  // For recovery.
  void Restore(std::vector<FreshRun> first, uint64_t segment_begin, uint64_t segment_end, uint64_t segment_deleted,
               std::vector<FreshRun> back);

 private:
  struct List {
    std::vector<FreshRun> next;
    size_t next_index = 0;
    std::vector<FreshRun> back;
    uint64_t segment_begin = 0;
    uint64_t segment_end = 0;
    uint64_t segment_deleted = 0;
  };
  List& list();
  // Fills an empty front from what is in memory.
  void Advance();

  FreshRun front_;
  std::unique_ptr<List> list_;
};

// A timer's place in its lane: keys sort by due time, then task.
struct TimerPosition {
  Time due = 0;
  TaskId task;

  friend auto operator<=>(const TimerPosition&, const TimerPosition&) = default;
};

// A lane's tasks with a timer (scheduled, retryable, given back): they stand in the store under Keys::Timer. Those up
// to `cursor` have been counted as due.
struct LaneTimers {
  uint64_t count = 0;
  uint64_t due = 0;
  TimerPosition cursor;
  Time wake = kNever;  // when the first timer past the cursor is due; kept by timers.h
};

// Who has a FIFO key: until that task is finished, no other of its lane is delivered.
struct KeyHold {
  TaskId task;
  Time due = kNever;  // when it runs again; kNever: it is running, or dead and blocks its key

  friend bool operator==(const KeyHold&, const KeyHold&) = default;
};

// What the dispatcher keeps of a lane between batches; rebuilt on demand, never stored.
struct LaneHead;

struct Lane {
  LaneId id;
  int32_t change = -1;  // its place in Changes::lanes, if it changed in this batch
  LaneKey key;
  QueueState* queue = nullptr;
  uint64_t group = 0;  // NameHash of its tasks' group; of a FIFO key's lane: of the task that opened it

  LaneRuns runs;  // tasks enqueued without delay
  uint64_t fresh_count = 0;
  std::unique_ptr<LaneTimers> timers;  // null: never had one
  std::unique_ptr<KeyHold> hold;
  std::unique_ptr<LaneHead> head;

  // Its place in the ready index, or its last one; since kNever: it is not ready.
  ReadyGroup* ready = nullptr;
  Time ready_since = kNever;

  Lane();
  ~Lane();
  bool is_ready() const { return ready_since != kNever; }
  uint64_t timed_count() const { return timers == nullptr ? 0 : timers->count; }
  uint64_t timed_due() const { return timers == nullptr ? 0 : timers->due; }
  TimerPosition due_cursor() const { return timers == nullptr ? TimerPosition() : timers->cursor; }
  Time wake() const { return timers == nullptr ? kNever : timers->wake; }
  bool has_waiting() const { return fresh_count > 0 || timed_count() > 0; }
  // Nothing is left that it is needed for. Runs of which every task left out of turn may remain; with them the lane.
  bool is_over() const { return !has_waiting() && runs.empty() && wake() == kNever && hold == nullptr; }
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_LANE_H_
