#ifndef PENSTOCK_BROKER_CORE_EXPLAINER_H_
#define PENSTOCK_BROKER_CORE_EXPLAINER_H_

#include <string>
#include <vector>

#include "broker/core/core_context.h"
#include "broker/core/dispatcher.h"
#include "broker/core/estimator.h"
#include "broker/core/lifecycle.h"
#include "broker/core/sessions.h"

namespace penstock::broker {

// Says why a task is not running. It asks what the dispatcher asks, with the same functions (Dispatcher::WhyNot, FitOf,
// ReadyIndex::IsBlocked, Meters::CheckAll, Deliverer, Timers::GoesBefore): there is no second copy of its logic that
// could say something else. tests/unit/broker/core/explain_test.cc compares the two in random states.
class Explainer {
 public:
  Explainer(CoreContext& context, Lifecycle& lifecycle, Dispatcher& dispatcher, Estimator& estimator)
      : context_(context), lifecycle_(lifecycle), dispatcher_(dispatcher), estimator_(estimator) {}

  // REQUIRES: Dispatcher::Prepare was called, and nothing has changed since.
  void Answer(const ExplainTaskCommand& command);
  // The first reason that keeps a task that is available from being handed out, as text; empty: none.
  std::string WaitingReason(const Lifecycle::StoredTask& task);

 private:
  absl::StatusOr<ExplainReply> Explain(TaskId task);
  // All reasons but its turn. `tasks_before`: of its key, if it has one.
  std::vector<WaitReason> Reasons(const Lifecycle::StoredTask& task, Lane* lane, Time due, uint64_t tasks_before);
  void AddWorkers(const Lifecycle::StoredTask& task, const QueueState& queue, const Dispatcher::WorkersFor& workers,
                  std::vector<WaitReason>* reasons);
  void AddBusy(const Lifecycle::StoredTask& task, const QueueState& queue, const Dispatcher::WorkersFor& workers,
               std::vector<WaitReason>* reasons);
  void AddKey(const Lifecycle::StoredTask& task, Lane* lane, uint64_t tasks_before, std::vector<WaitReason>* reasons);
  void AddMeters(const Lifecycle::StoredTask& task, const Lane& lane, std::vector<WaitReason>* reasons);
  std::string After(Time until) const;

  CoreContext& context_;
  Lifecycle& lifecycle_;
  Dispatcher& dispatcher_;
  Estimator& estimator_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_EXPLAINER_H_
