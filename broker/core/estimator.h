#ifndef PENSTOCK_BROKER_CORE_ESTIMATOR_H_
#define PENSTOCK_BROKER_CORE_ESTIMATOR_H_

#include <algorithm>

#include "absl/container/btree_map.h"
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
    double square = 0;  // the sum of the squares of the tasks' run times
    double tasks = 0;
    void Add(const RunSketch& sketch, double count);
    // What is left on average of one that is met while it runs. REQUIRES: tasks > 0.
    double residual() const { return mean <= 0 ? 0 : square / mean / 2; }
    // The variance of one, whatever its type. REQUIRES: as above.
    double spread() const { return std::max(square / tasks - mean / tasks * (mean / tasks), 0.0); }
  };
  // When the last of `count` runs ends, of types as there are of each, from when the last of them begins; and the
  // variance of that. REQUIRES: there is experience with each.
  struct LastOnes {
    double ends = 0;
    double variance = 0;
  };
  LastOnes LastOf(const absl::btree_map<TypeId, double>& types, const Work& work, double count) const;
  const RunSketch* SketchOf(TypeId type) const;
  static TypeId TypeOf(const Lane& lane);

  CoreContext& context_;
  Dispatcher& dispatcher_;
  LanePosition positions_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_ESTIMATOR_H_
