#ifndef PENSTOCK_BROKER_CORE_DELIVERER_H_
#define PENSTOCK_BROKER_CORE_DELIVERER_H_

#include <memory>
#include <optional>

#include "broker/core/core_context.h"
#include "broker/core/lifecycle.h"
#include "broker/core/meters.h"
#include "broker/core/ready_index.h"
#include "broker/core/sessions.h"
#include "broker/core/timers.h"

namespace penstock::broker {

// Takes tasks off the heads of lanes and lends them to sessions. What stands at a head, and whether it may go, is
// decided here and nowhere else.
class Deliverer {
 public:
  Deliverer(CoreContext& context, Lifecycle& lifecycle, Timers& timers, Meters& meters, ReadyIndex& ready)
      : context_(context), lifecycle_(lifecycle), timers_(timers), meters_(meters), ready_(ready) {}

  void set_epoch(uint64_t epoch) { next_token_ = epoch << 40 | 1; }

  // The task that is next in a lane.
  struct Head {
    TypeId type;
    uint8_t priority = 0;
    Time since = 0;  // since when it has been available
  };
  // nullopt: nothing of the lane may go now.
  std::optional<Head> HeadOf(Lane* lane);

  // The task that the lane gives next, whether its time has come or not, or another holds its key; nullopt: none is
  // known.
  std::optional<TaskId> FirstOf(Lane* lane);

  // How the lane's head is counted by throttles.
  TaskPlace PlaceOf(const Lane& lane, TypeId type) const;

  // Lends up to `count` tasks, all of the head's type and priority. Returns how many; fewer when the lane has no more,
  // or only others, or a throttle lets no more.
  uint32_t Deliver(Lane* lane, const Head& head, Session* session, uint32_t count);

  // The lane's head is dead, to make room. REQUIRES: the lane is not that of a FIFO key. False: there is none.
  bool DropHead(Lane* lane);

  // Tasks taken out of lanes, given or expired, since the core was made.
  uint64_t taken() const { return taken_; }
  // How much more may be delivered in this batch.
  void set_bytes_limit(size_t limit) { bytes_limit_ = limit; }
  bool full() const { return context_.delivered_bytes >= bytes_limit_; }

 private:
  // What is lent, from where.
  struct Loan {
    TaskId task;
    TypeId type;
    uint8_t priority = 0;
    Time available_time = 0;
    const std::shared_ptr<const TaskBlock>& block;
    const Lifecycle::StoredTask* stored = nullptr;  // null: it is as its slot says
  };
  // The runs' front is in memory, if there is one.
  void LoadRuns(Lane* lane);
  // Of a FIFO key's lane that a task left out of turn: the front run has a task, or there is none. In the batch in
  // which it left: a recovery finds the lane as it is then.
  void DropEmptyRuns(Lane* lane);
  // The front run's block is loaded and its position stands at a task; false when no fresh task is left.
  bool LoadFront(Lane* lane);
  // The front goes before this timer. REQUIRES: LoadFront.
  bool FrontIsBefore(const Lane& lane, const TimerPosition& timer) const;
  // The front run's task is taken off its lane. REQUIRES: LoadFront.
  Lifecycle::StoredTask TakeFront(Lane* lane);
  // `count` tasks of the front run were taken; the next of it stands at `position`.
  void AdvanceFront(Lane* lane, size_t position, uint32_t count);
  // Lends what is next: of the front run up to `count` tasks. Returns how many; 0: the next one was taken out of the
  // way, or, with `others`, is not to be had.
  uint32_t DeliverNext(Lane* lane, const Head& head, Session* session, SessionMessage& message, uint32_t count,
                       bool* others);
  uint32_t DeliverFresh(Lane* lane, Session* session, SessionMessage& message, uint32_t count, bool* others);
  bool DeliverStored(Lane* lane, const Lifecycle::StoredTask& stored, Time due, Session* session,
                     SessionMessage& message);
  // Throttles let no more of a task's cost.
  bool IsThrottled(const Lane& lane, TypeId type, const SlotExtras& extras) {
    return meters_.any() && !meters_.Fits(PlaceOf(lane, type), extras.cost);
  }
  void Lend(Lane* lane, Session* session, SessionMessage& message, const Loan& loan);
  // The lane's FIFO key is held by a task that is due; nullopt if it is not, or cannot be read.
  std::optional<Lifecycle::StoredTask> DueHolder(Lane* lane);
  std::optional<Lifecycle::StoredTask> LoadStored(TaskId task);

  CoreContext& context_;
  Lifecycle& lifecycle_;
  Timers& timers_;
  Meters& meters_;
  ReadyIndex& ready_;
  uint64_t next_token_ = 1;
  uint64_t taken_ = 0;
  size_t bytes_limit_ = 0;  // of context_.delivered_bytes
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_DELIVERER_H_
