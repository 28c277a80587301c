#ifndef PENSTOCK_BROKER_CORE_ENQUEUER_H_
#define PENSTOCK_BROKER_CORE_ENQUEUER_H_

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

// Takes tasks in: repeated requests and duplicates are recognised, the rest goes into the batch's block, and into lanes
// when the block is closed, at the end of the batch's commands or when it is full.
class Enqueuer {
 public:
  Enqueuer(CoreContext& context, Timers& timers, Lifecycle& lifecycle)
      : context_(context), timers_(timers), lifecycle_(lifecycle) {}

  void Enqueue(const EnqueueCommand& command);
  // One task that nobody waits for; see core/schedules.h. Its texts are copied.
  absl::StatusOr<EnqueueResult> EnqueueOne(const NewTask& task);
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
  absl::Status CheckLimits(const EnqueueCommand& command);
  absl::StatusOr<TypeId> TypeFor(std::string_view name);
  EnqueueResult Add(const NewTask& task);
  uint32_t EntryFor(Lane* lane, TypeId type, uint8_t priority);

  CoreContext& context_;
  Timers& timers_;
  Lifecycle& lifecycle_;

  TaskBlockBuilder builder_;
  std::vector<Lane*> entry_lanes_;
  std::vector<uint32_t> entry_kinds_;  // FreshRun::kind
  absl::flat_hash_map<LaneId, uint32_t> entries_;
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
  // The lane of the last task: most tasks have their predecessor's.
  std::string last_queue_;
  std::string last_type_;
  LaneKey last_key_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_ENQUEUER_H_
