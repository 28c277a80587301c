#ifndef PENSTOCK_BROKER_CORE_LANE_HEAD_H_
#define PENSTOCK_BROKER_CORE_LANE_HEAD_H_

#include <cstdint>
#include <deque>
#include <memory>

#include "broker/core/core_state.h"
#include "broker/storage/task_block.h"
#include "common/coding.h"

namespace penstock::broker {

// What a timer waits for; stored with it.
enum class TimerKind : uint8_t {
  kScheduled = 0,
  kRetryable = 1,
  kReturned = 2,   // available again: given back by its worker, or redriven
  kPostponed = 3,  // scheduled, with a record: changed since its enqueue
};

// Tasks in consecutive slots that are due together.
struct TimerRun {
  TimerPosition position;  // of the first that is left
  uint32_t count = 1;
  TimerKind kind = TimerKind::kScheduled;
};

// The value of a timer's key.
inline std::string EncodeTimer(uint32_t count, TimerKind kind) {
  std::string body;
  PutVarint(&body, uint64_t{count} << 2 | static_cast<uint64_t>(kind));
  return body;
}
inline bool DecodeTimer(std::string_view body, uint32_t* count, TimerKind* kind) {
  Decoder decoder(body);
  const uint64_t value = decoder.Varint();
  *count = static_cast<uint32_t>(value >> 2);
  *kind = static_cast<TimerKind>(value & 3);
  return decoder.ok() && *count > 0;
}

// The front of a lane, read from the store for the dispatcher. Lanes that nobody takes from have none.
struct LaneHead {
  // The front run's block; null until it is needed.
  std::shared_ptr<const TaskBlock> block;
  // Due timers, in order; the store has more up to the lane's due_cursor unless `timers_complete`.
  std::deque<TimerRun> timers;
  bool timers_complete = false;
  // No timer stands before this one: a scan that starts here passes over no deleted keys.
  TimerPosition lowest;
  // Since when the oldest waiting task has been available; kNever when none is.
  Time since = kNever;
  // Of a FIFO key's lane: a task left it out of turn, perhaps the last of the front run, which tells the next task's
  // type.
  bool left_out_of_turn = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_LANE_HEAD_H_
