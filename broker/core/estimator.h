#ifndef PENSTOCK_BROKER_CORE_ESTIMATOR_H_
#define PENSTOCK_BROKER_CORE_ESTIMATOR_H_

#include "broker/core/core_context.h"
#include "broker/core/dispatcher.h"
#include "broker/core/lane_position.h"
#include "broker/core/lifecycle.h"
#include "broker/core/timers.h"

namespace penstock::broker {

// What will come when, if workers and tasks stay as they are: guessed from the dispatcher's order, from what its
// workers have room for, and from how long tasks of each type ran lately. docs/explain.md says how, and how wrong it
// may be. Decides nothing; bounded work.
class Estimator {
 public:
  Estimator(CoreContext& context, Timers& timers, Dispatcher& dispatcher)
      : context_(context), dispatcher_(dispatcher), positions_(context, timers) {}

  struct Place {
    CountEstimate in_lane;   // tasks of its lane before it
    CountEstimate in_queue;  // those of its queue
    SpanEstimate starts_in;  // unless a reason keeps it back that only a person ends
  };
  // REQUIRES: the task waits in `lane` since then, or is due then; Dispatcher::Prepare and CountWorkers were called.
  Place PlaceOf(Lane* lane, const Lifecycle::StoredTask& task, Time since);

  // When all that waits in the queue and is due will have run. REQUIRES: CountWorkers was called.
  SpanEstimate DrainedIn(const QueueState& queue);
  // The same of a FIFO key that a task holds. REQUIRES: as above.
  SpanEstimate DrainedIn(const Lane& lane);

 private:
  // Time that workers will need: its mean and its variance.
  struct Work {
    double mean = 0;
    double variance = 0;
    double tasks = 0;
    // Adds tasks of a type. False: there is no experience with it.
    void Add(const RunSketch& sketch, double count);
  };
  const RunSketch* SketchOf(TypeId type) const;
  static TypeId TypeOf(const Lane& lane);

  CoreContext& context_;
  Dispatcher& dispatcher_;
  LanePosition positions_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_ESTIMATOR_H_
