#ifndef PENSTOCK_BROKER_CORE_LANE_POSITION_H_
#define PENSTOCK_BROKER_CORE_LANE_POSITION_H_

#include <cstdint>
#include <vector>

#include "broker/core/core_context.h"
#include "broker/core/lifecycle.h"
#include "broker/core/timers.h"

namespace penstock::broker {

// A number that is guessed, and between what it is for certain.
struct CountEstimate {
  uint64_t expected = 0;
  uint64_t low = 0;
  uint64_t high = 0;
};

// How many tasks of its own lane are handed out before a task that waits there. Exact where the task stands among the
// first or the last blocks of its lane, and the timers before it are not too many; otherwise estimated from how many
// blocks are before it. Bounded work.
class LanePosition {
 public:
  LanePosition(CoreContext& context, Timers& timers) : context_(context), timers_(timers) {}

  // REQUIRES: the task waits in `lane`. `since`: when it came, or is due.
  CountEstimate Before(Lane* lane, const Lifecycle::StoredTask& task, Time since);

 private:
  // The lane's runs, in order; those of stored segments that are not read stand for themselves as numbers.
  struct Runs {
    std::vector<FreshRun> first;
    uint64_t unread = 0;
    std::vector<FreshRun> last;
    uint64_t size() const { return first.size() + unread + last.size(); }
  };
  Runs ReadRuns(const Lane& lane);
  // Tasks of a run that still wait, before the slot; slot UINT32_MAX: all of them.
  uint64_t CountRun(const FreshRun& run, uint32_t slot);
  // Tasks of the first `runs` runs.
  CountEstimate CountFirst(const Lane& lane, const Runs& all, uint64_t runs);
  CountEstimate CountFresh(const Lane& lane, const Lifecycle::StoredTask& task, Time since, bool is_fresh);

  CoreContext& context_;
  Timers& timers_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_LANE_POSITION_H_
