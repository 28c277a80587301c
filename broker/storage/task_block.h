#ifndef PENSTOCK_BROKER_STORAGE_TASK_BLOCK_H_
#define PENSTOCK_BROKER_STORAGE_TASK_BLOCK_H_

// A block: all tasks that one commit enqueued (or the first 16,384 of them), in the order of their arrival, with a
// directory of the lanes they belong to. Written once, never changed; a task's slot is part of its id.
//
//   block  = varint(block) signed(create time) varint(entries) entry* varint(slots) slot* specs
//   entry  = varint(lane) varint(queue) varint(type) byte:1 [name:8] [group:8]       a lane with tasks in this block;
//            byte: priority, 0x10: its group's name follows, 0x20: its FIFO key's name and its group's follow
//   slot   = varint(entry) varint(flags) [extras, in the order of the flags] varint(size of spec)
//   extras = 1: signed(run_at - create time)   2: signed(expire_at - create time)   4: varint(run timeout)
//            8: varint(max_attempts) varint(initial) varint(max) float64(multiplier) float64(jitter)
//           16: bytes(unique key) varint(window)  32: varint(result retention)   64: dropped: the spec is gone
//          128: varint(cost)                      256: varint(life timeout)
//          512: the unique key is free once the task was handed out (no bytes)
//         1024: byte:1, the kind of backoff of the policy of flag 8 (Backoff); without it, exponential
//   specs  = the serialized TaskSpecs, one behind the other
//
// A compacted block is a block in which the specs of tasks that are done have been dropped.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "broker/core/command.h"
#include "broker/core/core_types.h"
#include "broker/core/lane.h"

namespace penstock::broker {

// What the core must know of a task beyond its lane; the plain task has none of it.
struct SlotExtras {
  Time run_at = 0;  // 0: not scheduled
  Time expire_at = kNever;
  Span run_timeout = 0;
  std::optional<RetryPolicy> retry_policy;
  std::string_view unique_key;
  Span unique_window = 0;
  std::optional<Span> result_retention;
  uint16_t cost = 1;      // for throttles
  Span life_timeout = 0;  // from when it is first due; 0: none
  // The unique key is free once the task was handed out.
  bool unique_waiting = false;
};

// Immutable once made; shared by the core, which caches blocks, and by deliveries on their way out.
class TaskBlock {
 public:
  struct Entry {
    LaneId lane;
    QueueId queue;
    TypeId type;
    uint8_t priority = 0;
    // See LaneKey. A FIFO key's lane has an entry for each stretch of tasks of one type and priority.
    bool fifo = false;
    uint64_t name = 0;
    uint64_t group = 0;

    LaneKey lane_key() const { return fifo ? LaneKey::Fifo(queue, name) : LaneKey{queue, type, priority, false, name}; }
  };

  // Reads a stored block, the envelope being opened already. DataLoss if it is broken.
  static absl::StatusOr<std::shared_ptr<const TaskBlock>> Parse(std::string body);

  BlockId id() const { return id_; }
  Time create_time() const { return create_time_; }
  uint32_t slot_count() const { return static_cast<uint32_t>(slots_.size()); }
  const std::vector<Entry>& entries() const { return entries_; }
  // The encoded block, for the store.
  const std::string& body() const { return body_; }

  uint32_t entry_of(uint32_t slot) const { return slots_[slot].entry; }
  const Entry& lane_of(uint32_t slot) const { return entries_[slots_[slot].entry]; }
  std::string_view spec(uint32_t slot) const {
    return std::string_view(body_).substr(slots_[slot].spec_offset, slots_[slot].spec_size);
  }
  bool dropped(uint32_t slot) const { return slots_[slot].dropped; }
  // Never null: plain tasks share the empty one.
  const SlotExtras& extras(uint32_t slot) const {
    return slots_[slot].extras < 0 ? kPlain : extras_[static_cast<size_t>(slots_[slot].extras)];
  }

  // The slots of a directory entry that are not scheduled, ascending: what waits in its lane in the order of arrival.
  absl::Span<const uint16_t> FreshSlots(uint32_t entry) const {
    return {fresh_slots_.data() + fresh_begin_[entry], fresh_begin_[entry + 1] - fresh_begin_[entry]};
  }

  // The block without the specs of the slots that `dead` names.
  std::string Compact(absl::FunctionRef<bool(uint32_t slot)> dead) const;

 private:
  void IndexFreshSlots();

  struct Slot {
    uint32_t spec_offset = 0;
    uint32_t spec_size = 0;
    int32_t extras = -1;
    uint16_t entry = 0;
    bool dropped = false;
  };
  static const SlotExtras kPlain;

  BlockId id_;
  Time create_time_ = 0;
  std::string body_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;
  std::vector<SlotExtras> extras_;
  // The fresh slots of entry e stand at [fresh_begin_[e], fresh_begin_[e + 1]).
  std::vector<uint16_t> fresh_slots_;
  std::vector<uint32_t> fresh_begin_;
};

// Collects the tasks of one block.
class TaskBlockBuilder {
 public:
  bool empty() const { return slot_count_ == 0; }
  uint32_t slot_count() const { return slot_count_; }
  bool full() const { return slot_count_ == TaskId::kSlotsMax; }
  size_t bytes() const { return slots_.size() + specs_.size(); }

  // A directory entry. REQUIRES: a lane is named once, unless it is a FIFO key's.
  uint32_t AddEntry(const TaskBlock::Entry& entry);
  // Adds a task and returns its slot. `task.run_at` and `expire_at` are resolved; run_at 0 means not scheduled.
  // REQUIRES: !full().
  uint32_t Add(uint32_t entry, const NewTask& task, Time create_time);
  // The same for a task that is_plain().
  uint32_t AddPlain(uint32_t entry, std::string_view spec);

  // The finished block; the builder is empty again.
  std::shared_ptr<const TaskBlock> Finish(BlockId id, Time create_time);

 private:
  std::vector<TaskBlock::Entry> entries_;
  std::string slots_;
  std::string specs_;
  uint32_t slot_count_ = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_STORAGE_TASK_BLOCK_H_
