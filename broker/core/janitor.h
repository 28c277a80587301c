#ifndef PENSTOCK_BROKER_CORE_JANITOR_H_
#define PENSTOCK_BROKER_CORE_JANITOR_H_

#include "broker/core/core_context.h"
#include "broker/core/dispatcher.h"
#include "broker/core/lifecycle.h"
#include "broker/core/timers.h"

namespace penstock::broker {

// What has to be cleared away in time: expired tasks, finished tasks past their retention, purged lanes, deleted
// queues, half-dead blocks. Bounded work a tick.
class Janitor {
 public:
  Janitor(CoreContext& context, Lifecycle& lifecycle) : context_(context), lifecycle_(lifecycle) {}

  // After a recovery: looks up what is due next.
  void Restore();
  // False: there is more to do at this moment.
  bool Tick();
  // Wall time at which Tick next has work, or kNever.
  Time next_due() const;

 private:
  bool ForgetTasks();
  bool ForgetBuckets();
  bool ExpireTasks();
  bool ClearPurged();
  bool ClearDeletedQueues();
  void CompactBlock();
  bool FinishPurgedRun(const FreshRun& run);
  Time FirstTime(char kind);

  CoreContext& context_;
  Lifecycle& lifecycle_;
  Time next_retention_ = kNever;
  Time next_expiry_ = kNever;
  Time next_bucket_ = 0;
  Time next_compaction_ = 0;
  BlockId compaction_cursor_;
  QueueId deleted_cursor_;  // finished tasks of queues before this one have been looked at
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_JANITOR_H_
