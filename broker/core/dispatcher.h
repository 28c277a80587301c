#ifndef PENSTOCK_BROKER_CORE_DISPATCHER_H_
#define PENSTOCK_BROKER_CORE_DISPATCHER_H_

#include <compare>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_set.h"
#include "broker/core/core_context.h"
#include "broker/core/lifecycle.h"
#include "broker/core/sessions.h"
#include "broker/core/timers.h"

namespace penstock::broker {

// A lane that has something to give, in the order in which lanes are served.
struct ReadyLane {
  int urgency = 0;  // 9 - priority
  Time since = 0;   // of its oldest task
  LaneId lane;

  friend auto operator<=>(const ReadyLane&, const ReadyLane&) = default;
};

// A session that waits for tasks, in the order in which sessions are served.
struct Taker {
  int tier = 0;  // 0: has a free slot; 1: would prefetch
  uint32_t running = 0;
  uint64_t turn = 0;
  SessionNumber session;

  friend auto operator<=>(const Taker&, const Taker&) = default;
};

// Workers that take the same types from the same queues, and the lanes that are theirs.
struct Subscription {
  uint32_t id = 0;
  absl::flat_hash_set<std::string> queues;
  absl::flat_hash_set<std::string> types;
  uint32_t sessions = 0;  // that belong to it, connected or within their grace
  uint32_t connected = 0;
  absl::btree_set<ReadyLane> ready;
  // Sessions with credit: those with a free slot before those that prefetch, the least loaded first, of these the one
  // served longest ago.
  absl::btree_set<Taker> takers;
  uint32_t free_takers = 0;  // of tier 0
  uint32_t burst = 0;        // tasks given since a lower priority was served
};

// Chooses the next lane for whoever has credit: the most urgent priority first, within it the lane whose head has
// waited longest; but after priority_burst tasks the oldest head of a lower priority is served once. A lane whose queue
// is paused, that has nothing due, or whose type no connected worker handles, is not among the choices, so it is in
// nobody's way.
class Dispatcher : public SessionObserver {
 public:
  Dispatcher(CoreContext& context, Lifecycle& lifecycle, Timers& timers)
      : context_(context), lifecycle_(lifecycle), timers_(timers) {}

  void set_sessions(Sessions* sessions) { sessions_ = sessions; }
  void set_epoch(uint64_t epoch) { next_token_ = epoch << 40 | 1; }

  // After everything else in a batch: brings the lanes that changed up to date, then deals out until lanes or
  // credit are used up. Bounded work. False: there is more to do.
  bool Run();
  // The queue was paused or resumed.
  void RefreshQueue(const QueueState& queue);
  // The lane is going away.
  void Drop(Lane* lane);

  // Why nobody runs a task of this lane although it is available; empty: no outward reason.
  std::string WaitingReason(const LaneKey& key);
  bool Handled(const QueueState& queue, TypeId type);

  void SessionConnected(Session* session) override;
  void SessionChanged(Session* session) override;
  void SessionEnds(Session* session) override;

  // Stops handing out, for a shutdown.
  void Stop() { stopped_ = true; }

 private:
  struct LaneDispatch {
    bool matched = false;
    std::vector<Subscription*> subscriptions;
    bool ready = false;
    ReadyLane key;
  };
  void Refresh(Lane* lane);
  // A subscription came or went: which of its queues' lanes it concerns.
  void Rematch(const Subscription& subscription);
  void Unready(LaneDispatch& dispatch);
  LaneDispatch& DispatchOf(Lane* lane);
  bool Matches(const Subscription& subscription, const Lane& lane) const;
  // Gives one session tasks of one lane. False: it takes nothing that is ready.
  bool ServeOne(Subscription* subscription);
  Lane* ChooseLane(Subscription* subscription, const Session& session);
  bool Takes(const Session& session, const Lane& lane) const;
  uint32_t Deliver(Lane* lane, Session* session, uint32_t count);
  bool DeliverFresh(Lane* lane, Session* session, SessionMessage& message);
  bool DeliverTimed(Lane* lane, Session* session, SessionMessage& message);
  void Lend(Session* session, SessionMessage& message, const QueueState& queue, TaskId task, Time available_time,
            std::shared_ptr<const TaskBlock> block, const LaneKey& key, const records::TaskRecord* record);
  // The front run of a lane's fresh tasks, loaded; false when there is none.
  bool LoadFront(Lane* lane);
  void Enlist(Session* session);
  void Delist(Session* session);

  CoreContext& context_;
  Lifecycle& lifecycle_;
  Timers& timers_;
  Sessions* sessions_ = nullptr;
  absl::btree_map<std::string, std::unique_ptr<Subscription>> subscriptions_;  // by queues and types
  absl::flat_hash_map<LaneId, LaneDispatch> lanes_;
  uint64_t next_turn_ = 1;
  uint32_t next_subscription_ = 1;
  uint64_t next_token_ = 1;
  uint64_t taken_ = 0;      // tasks out of lanes, given or expired, since the core was made
  size_t bytes_limit_ = 0;  // of context_.delivered_bytes, in this batch
  bool stopped_ = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_DISPATCHER_H_
