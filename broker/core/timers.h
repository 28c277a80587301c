#ifndef PENSTOCK_BROKER_CORE_TIMERS_H_
#define PENSTOCK_BROKER_CORE_TIMERS_H_

#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "broker/core/core_context.h"
#include "broker/core/lane_head.h"

namespace penstock::broker {

// Tasks that wait for a time: scheduled, retryable, and those that were given back. They stand in the store, a key for
// each run of consecutive slots that are due together, lane by lane in the order of their times; memory holds the next
// few of lanes that are dispatched. Being due costs no write: a cursor per lane passes over what has become due and
// moves the counters.
class Timers {
 public:
  explicit Timers(CoreContext& context) : context_(context) {}

  // Puts `count` tasks in consecutive slots, from `task` on, into the lane and its counters. Counts them in the queue
  // under the kind's state.
  void Add(Lane* lane, Time due, TaskId task, uint32_t count, TimerKind kind);
  // Takes one task with a timer of its own out. REQUIRES: it was added alone, with this due time.
  void Remove(Lane* lane, Time due, TaskId task, TimerKind kind);
  // A task of a longer run left it; its slot is marked gone.
  void RemoveFromRun(Lane* lane, Time due, TaskId task);

  // A block is going away: clears what its cancelled tasks left in lanes, timers and a remembered front, since nobody
  // could tell any more that their slots are gone.
  void DropBlock(const BlockState& block);

  // Moves the cursors of lanes whose next timer is due; bounded work. False: there is more to do at this moment.
  bool Advance();
  // When Advance next has work, or kNever.
  Time next_wake() const { return wakes_.empty() ? kNever : wakes_.begin()->first; }

  // The first due task of a lane, or nullopt when none is left. It stays first until Take.
  std::optional<TimerRun> Peek(Lane* lane);
  // The first task is taken: counted out of the lane and the queue's available.
  void Take(Lane* lane);
  // Whether a task with this timer goes before one that has been in the lane, without a timer, since then.
  static bool GoesBefore(Time due, Time fresh_since) { return due <= fresh_since; }
  // Tasks of the lane with a timer before `end`, due or not. Looks at `runs_max` runs at most; false: there are more.
  bool CountBefore(Lane* lane, const TimerPosition& end, int runs_max, uint64_t* count);
  // Writes what Take left of a run. Called once, before the batch is sealed.
  void Flush();

  // After a recovery: looks up when the lane's next timer is due.
  void Restore(Lane* lane);
  // The lane is going away.
  void Drop(Lane* lane);

 private:
  void SetWake(Lane* lane, Time wake);
  void Take(Lane* lane, bool counted);
  // Refills head->timers from the store.
  void Fill(Lane* lane);
  LaneHead& HeadOf(Lane* lane);
  // Tasks of a run that are still in it.
  uint32_t Living(const TimerRun& run);

  CoreContext& context_;
  absl::btree_set<std::pair<Time, LaneId>> wakes_;
  // The rest of a run of which some tasks were taken in this batch, and the key it is stored under.
  struct Partial {
    LaneId lane;
    TimerPosition stored;
    TimerRun rest;
  };
  std::vector<Partial> partials_;
};

Counter CounterOf(TimerKind kind);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_TIMERS_H_
