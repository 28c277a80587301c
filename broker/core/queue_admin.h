#ifndef PENSTOCK_BROKER_CORE_QUEUE_ADMIN_H_
#define PENSTOCK_BROKER_CORE_QUEUE_ADMIN_H_

#include "broker/core/core_context.h"
#include "broker/core/dispatcher.h"
#include "broker/core/enqueuer.h"
#include "broker/core/estimator.h"
#include "broker/core/lifecycle.h"
#include "broker/core/timers.h"

namespace penstock::broker {

// What operators do to queues and their dead tasks.
class QueueAdmin {
 public:
  QueueAdmin(CoreContext& context, Enqueuer& enqueuer, Lifecycle& lifecycle, Timers& timers, Dispatcher& dispatcher,
             Estimator& estimator)
      : context_(context),
        enqueuer_(enqueuer),
        lifecycle_(lifecycle),
        timers_(timers),
        dispatcher_(dispatcher),
        estimator_(estimator) {}

  void Apply(const QueueCommand& command);
  void Apply(const DeadTasksCommand& command);
  void Apply(const ListKeysCommand& command);
  void Apply(const ReleaseKeyCommand& command);

  // The queue as operators see it. REQUIRES: Dispatcher::CountWorkers was called.
  QueueView View(const QueueState& queue);

 private:
  absl::Status Change(const QueueCommand& command, QueueReply* reply);
  uint64_t Purge(QueueState* queue);
  absl::Status Delete(QueueState* queue, bool force);
  void ReleaseDeadKeys(const QueueState& queue);

  CoreContext& context_;
  Enqueuer& enqueuer_;
  Lifecycle& lifecycle_;
  Timers& timers_;
  Dispatcher& dispatcher_;
  Estimator& estimator_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_QUEUE_ADMIN_H_
