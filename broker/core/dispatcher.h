#ifndef PENSTOCK_BROKER_CORE_DISPATCHER_H_
#define PENSTOCK_BROKER_CORE_DISPATCHER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "broker/core/core_context.h"
#include "broker/core/deliverer.h"
#include "broker/core/drop_order.h"
#include "broker/core/lifecycle.h"
#include "broker/core/meters.h"
#include "broker/core/ready_index.h"
#include "broker/core/run_sketch.h"
#include "broker/core/sessions.h"
#include "broker/core/timers.h"

namespace penstock::broker {

// Why a worker is handed nothing now, or nothing of a certain queue and type.
enum class Unwilling : uint8_t {
  kNo,
  kAway,          // not connected
  kDraining,      // it takes no more
  kNoCredit,      // it has not asked for more
  kManyTasks,     // it holds as many as a worker may
  kNoTypeCredit,  // it runs as many of the type as it wants to
  kNoFreeSlot,    // it would have to wait at the worker, but a throttle counts it
};

// Chooses the next lane for whoever has credit: the most urgent priority first; within it, queue by queue, the group
// that has used least, and of its lanes the one whose head has waited longest; but after priority_burst tasks a lower
// priority is served once, the one with the oldest head. A lane whose queue is paused, that has nothing due, whose FIFO
// key is held, or whose type no connected worker handles, is not among the choices, so it is in nobody's way. What a
// throttle keeps back is found when it is its turn, and is not among the choices from then on until that throttle may
// be open again (meters.h).
class Dispatcher : public SessionObserver {
 public:
  Dispatcher(CoreContext& context, Lifecycle& lifecycle, Timers& timers, Meters& meters)
      : context_(context),
        meters_(meters),
        ready_(context.state),
        lifecycle_(lifecycle),
        deliverer_(context, lifecycle, timers, meters, ready_) {}

  void set_sessions(Sessions* sessions) { sessions_ = sessions; }
  void set_epoch(uint64_t epoch) { deliverer_.set_epoch(epoch); }

  // After everything else in a batch: brings the lanes that changed up to date, then deals out until lanes or
  // credit are used up. Bounded work. False: there is more to do.
  bool Run();
  // After a recovery: which lanes have something to give.
  void Restore();
  // The queue was paused or resumed, or its settings changed.
  void RefreshQueue(const QueueState& queue);
  // The queue was deleted.
  void Forget(const QueueState& queue) {
    ready_.Forget(queue.id);
    drop_order_.Forget(queue.id);
  }
  // The lane is going away.
  void Drop(Lane* lane);

  // Whether the queue can give up so many tasks, and so many bytes of them, to make room: none of a FIFO key, and none
  // that is not due. Called before its tasks are counted in this batch.
  bool CanDrop(const QueueState& queue, uint64_t tasks, uint64_t bytes);
  // Gives up the oldest until so many tasks and bytes are gone. They are dead.
  void DropOldest(QueueState* queue, uint64_t tasks, uint64_t bytes);

  // A running task ended, or is given back. REQUIRES: it was charged, or is counted.
  void Settle(const Lease& lease);

  // Brings the lanes that changed in this batch up to date; Run does it first of all.
  void Prepare();

  // --- what it decides by, for who explains or estimates what it will do (explainer.h, estimator.h) ---
  bool stopped() const { return stopped_; }
  Unwilling WhyNot(const Session& session, QueueId queue, TypeId type) const;
  Deliverer& deliverer() { return deliverer_; }
  Meters& meters() { return meters_; }
  const ReadyIndex& ready() const { return ready_; }
  const RunSketches& sketches() const { return sketches_; }
  const Sessions& sessions() const { return *sessions_; }
  // Counts Subscription::workers anew, if anything has changed since it did so last.
  void CountWorkers();
  // Workers for a queue and type, as CountWorkers found them.
  struct WorkersFor {
    Subscription::Workers fitting;
    std::vector<const Subscription*> subscriptions;  // of these
    uint32_t without_labels = 0;                     // connected workers that only lack labels
    std::vector<std::string> missing;                // labels that the best of those lacks
  };
  WorkersFor FindWorkers(const QueueState& queue, TypeId type) const;

  // What only the dispatcher knows of a queue: since when its oldest task has been ready, and ready types that nobody
  // handles. REQUIRES: CountWorkers was called.
  void Describe(const QueueState& queue, QueueView* view);

  void SessionConnected(Session* session) override;
  void SessionChanged(Session* session) override;
  void SessionEnds(Session* session) override;
  void TaskRan(const Lease& lease, Span run_time) override {
    if (lease.charged > 0) ready_.Learn(lease.type, run_time);
    sketches_.Add(context_.state.BaseType(lease.type), run_time);
  }
  void HandlerCools(const Lease& lease, CoolScope scope, Time until) override;

  // Stops handing out, for a shutdown.
  void Stop() { stopped_ = true; }

 private:
  void Refresh(Lane* lane);
  // Lanes that changed in this batch.
  void RefreshChanged(QueueId only);
  // Gives one session tasks of one lane. False: it takes nothing that is ready.
  bool ServeOne(Subscription* subscription);
  // The lane to serve next; null: none that the session takes. `lower_turn`: it is the turn of a lower priority.
  Lane* ChooseLane(Subscription* subscription, const Session& session, bool* lower_turn);
  // `running`: tasks that it holds.
  Unwilling WhyNot(const Session& session, uint32_t running) const;
  Unwilling WhyNot(const Session& session, int tier, QueueId queue, TypeId type) const;
  bool Takes(const Session& session, const LaneClass& lane_class) const;
  // The next lane at a priority that throttles let go; those that they do not wait, out of the way.
  Lane* FirstOpen(const Subscription& subscription, int urgency, ReadyIndex::Takes takes);
  // Lets some of those look again that wait for a throttle. False: nobody.
  bool Unpark();
  void Enlist(Session* session);
  void Delist(Session* session);

  CoreContext& context_;
  Meters& meters_;
  ReadyIndex ready_;
  Lifecycle& lifecycle_;
  Deliverer deliverer_;
  DropOrder drop_order_;
  RunSketches sketches_;
  Sessions* sessions_ = nullptr;
  absl::btree_map<std::string, std::unique_ptr<Subscription>> subscriptions_;  // by queues and types
  uint64_t next_turn_ = 1;
  uint32_t next_subscription_ = 1;
  bool stopped_ = false;
  bool workers_counted_ = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_DISPATCHER_H_
