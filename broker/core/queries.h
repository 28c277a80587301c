#ifndef PENSTOCK_BROKER_CORE_QUERIES_H_
#define PENSTOCK_BROKER_CORE_QUERIES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/core_context.h"
#include "broker/core/dispatcher.h"
#include "broker/core/explainer.h"
#include "broker/core/lifecycle.h"
#include "broker/core/queue_admin.h"
#include "broker/core/sessions.h"

namespace penstock::broker {

// Answers from memory what only the core knows; edges join them with the store (rpc/task_reader.h).
class Queries {
 public:
  Queries(CoreContext& context, Lifecycle& lifecycle, Sessions& sessions, Dispatcher& dispatcher, Explainer& explainer,
          QueueAdmin& queues)
      : context_(context),
        lifecycle_(lifecycle),
        sessions_(sessions),
        dispatcher_(dispatcher),
        explainer_(explainer),
        queues_(queues) {}

  TaskSnapshot Snapshot(TaskId task);
  void Answer(const ListLanesCommand& command);
  void Answer(const ListRunningCommand& command);
  void Answer(const StatusCommand& command, uint64_t epoch);

 private:
  TaskSnapshot RunningSnapshot(const Lease& lease);
  absl::StatusOr<std::vector<FreshRun>> LoadSegment(const Lane& lane, uint64_t segment);
  // The first of the lane's segments that may hold runs of this block or later ones.
  uint64_t SegmentOf(const Lane& lane, BlockId block);

  CoreContext& context_;
  Lifecycle& lifecycle_;
  Sessions& sessions_;
  Dispatcher& dispatcher_;
  Explainer& explainer_;
  QueueAdmin& queues_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_QUERIES_H_
