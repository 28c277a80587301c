#ifndef PENSTOCK_BROKER_CORE_ENQUEUER_H_
#define PENSTOCK_BROKER_CORE_ENQUEUER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "broker/core/core_context.h"
#include "broker/core/lifecycle.h"
#include "broker/core/timers.h"
#include "broker/storage/task_block.h"

namespace penstock::broker {

class Dispatcher;

// Takes tasks in: repeated requests and duplicates are recognised, the rest goes into the batch's block, and into lanes
// when the block is closed, at the end of the batch's commands or when it is full.
class Enqueuer {
 public:
  Enqueuer(CoreContext& context, Timers& timers, Lifecycle& lifecycle)
      : context_(context), timers_(timers), lifecycle_(lifecycle) {}

  // Which tasks make room when a queue is full.
  void set_dispatcher(Dispatcher* dispatcher) { dispatcher_ = dispatcher; }

  void Enqueue(const EnqueueCommand& command);
  // One task that nobody waits for; see core/schedules.h. Its texts are copied.
  absl::StatusOr<EnqueueResult> EnqueueOne(const NewTask& task);
  // Tasks that a completion brings, in two steps: whether they can all be taken, once `ending` has given up its unique
  // key; then, with nothing else between but that, they are.
  absl::Status Admit(const std::vector<NewTask>& tasks, TaskId ending);
  std::vector<EnqueueResult> Add(const std::vector<NewTask>& tasks);
  void Update(const UpdateTaskCommand& command);
  // The queue, made if need be. ResourceExhausted: too many queues.
  absl::StatusOr<QueueState*> QueueFor(std::string_view name);
  // Closes the block being built, if there is one. Called before anything else looks at lanes.
  void CloseBlock();
  // The queue is going away.
  void Forget(std::string_view queue) {
    if (queue == last_queue_) last_queue_.clear();
  }

 private:
  // What an enqueue would have to make first; all is checked before anything changes.
  absl::Status CheckLimits(const std::vector<NewTask>& tasks);
  // Queues that have a limit have room for the tasks, or will have: see need_.
  absl::Status CheckRoom(const std::vector<NewTask>& tasks, TaskId ending);
  // What the tasks add to queues with a limit. `exactly`: duplicates do not count.
  void MeasureNeed(const std::vector<NewTask>& tasks, TaskId ending, bool exactly);
  // The oldest tasks go where that was decided.
  void MakeRoom();
  absl::StatusOr<UpdateReply> Change(const UpdateTaskCommand& command);
  absl::StatusOr<TypeId> TypeFor(std::string_view name, std::string_view labels);
  // Where tasks of its queue, type and labels go is known from now on. REQUIRES: CheckLimits.
  void FindPlace(const NewTask& task);
  // REQUIRES: FindPlace, for this or one of the same place.
  EnqueueResult Add(const NewTask& task);
  // What the block keeps of a task that is not plain: its times and its retry policy are settled now.
  NewTask Settle(const NewTask& task, const QueueState& queue);
  // The task that has the unique key becomes what the new one is, if no worker has had it.
  bool Replace(TaskId holder, const NewTask& task, const LaneKey& lane, uint64_t group);
  // Who has the key of a new task; nullopt: nobody, or `ending`, which is about to give it up.
  std::optional<TaskId> HolderOf(const QueueState& queue, std::string_view unique_key, TaskId ending);
  // The directory entry for a task of the place that was found last; its lane is made if need be.
  uint32_t EntryFor(const LaneKey& key, uint64_t group, uint8_t priority);

  CoreContext& context_;
  Timers& timers_;
  Lifecycle& lifecycle_;
  Dispatcher* dispatcher_ = nullptr;

  // Of the tasks that are being taken, for queues with a limit: what they add, and what is given up for them.
  struct Need {
    QueueState* queue = nullptr;
    uint64_t tasks = 0;
    uint64_t bytes = 0;
    // What more they need if the waiting tasks that have their unique keys are given up.
    uint64_t held_tasks = 0;
    uint64_t held_bytes = 0;
    uint64_t drop_tasks = 0;
    uint64_t drop_bytes = 0;
  };
  std::vector<Need> need_;

  TaskBlockBuilder builder_;
  std::vector<Lane*> entry_lanes_;
  std::vector<uint32_t> entry_kinds_;  // FreshRun::kind
  absl::flat_hash_map<LaneId, uint32_t> entries_;
  uint32_t last_entry_ = 0;  // most tasks go where the one before them went
  Time earliest_expiry_ = kNever;
  // Tasks in consecutive slots of one lane that are due together.
  struct TimedRun {
    Lane* lane;
    Time due;
    uint32_t slot;
    uint32_t count;
  };
  std::vector<TimedRun> timed_;
  std::vector<uint32_t> fresh_counts_;  // by entry
  // The place of the last task, its queue and type: see FindPlace.
  std::string last_queue_;
  std::string last_type_;
  std::string last_labels_;
  LaneKey last_key_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_ENQUEUER_H_
