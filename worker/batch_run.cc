#include "worker/batch_run.h"

#include <exception>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "worker/thrown.h"

namespace penstock {
namespace {

// Calls the handler. What it throws goes through.
std::vector<Outcome> CallHandler(const RawBatchHandler& handler, std::span<const RawBatchTask> tasks) {
  std::vector<Outcome> outcomes = handler(tasks);
  if (outcomes.size() == tasks.size()) return outcomes;
  return std::vector<Outcome>(
      tasks.size(),
      Outcome::Retry({"batch",
                      fmt::format("the batch handler returned {} outcomes for {} tasks; it has to return one for each",
                                  outcomes.size(), tasks.size()),
                      ""}));
}

// One call of a wrapped handler: goes down through the middleware of task after task, calls the handler at the bottom,
// and comes up again.
class WrappedCall {
 public:
  WrappedCall(const RawBatchHandler& handler, const std::vector<Middleware>& middleware,
              std::span<const RawBatchTask> tasks)
      : handler_(handler), middleware_(middleware), tasks_(tasks), runs_(tasks.size()) {}

  std::vector<Outcome> Run() {
    Enter(0);
    std::vector<Outcome> outcomes;
    outcomes.reserve(runs_.size());
    for (TaskRun& run : runs_) outcomes.push_back(*std::move(run.outcome));
    return outcomes;
  }

 private:
  struct TaskRun {
    bool called = false;  // its middleware let it through to the handler
    std::optional<Outcome> outcome;
  };

  // Brings task i, and within it all that follow, to the handler and back.
  void Enter(size_t i) {
    if (i == tasks_.size()) return Call();
    TaskRun& run = runs_[i];
    try {
      run.outcome = Through(0, i, tasks_[i].context, tasks_[i].payload);
    } catch (...) {
      run.outcome = OutcomeOfThrown();
    }
    // It ended in the middleware: the others still have to go.
    if (!run.called) Enter(i + 1);
  }

  Outcome Through(size_t layer, size_t i, TaskContext& context, std::string_view payload) {
    if (layer == middleware_.size()) return Bottom(i, context, payload);
    const RawHandler next = [this, layer, i](TaskContext& next_context, std::string_view next_payload) {
      return Through(layer + 1, i, next_context, next_payload);
    };
    return middleware_[layer](context, payload, next);
  }

  Outcome Bottom(size_t i, TaskContext& context, std::string_view payload) {
    if (std::exchange(runs_[i].called, true)) {
      const RawBatchTask alone{context, payload};
      return std::move(CallHandler(handler_, {&alone, 1}).front());
    }
    const size_t place = let_through_.size();
    let_through_.push_back({context, payload});
    Enter(i + 1);
    if (thrown_) std::rethrow_exception(thrown_);
    return std::move(outcomes_[place]);
  }

  void Call() {
    if (let_through_.empty()) return;
    try {
      outcomes_ = CallHandler(handler_, let_through_);
    } catch (...) {
      thrown_ = std::current_exception();
    }
  }

  const RawBatchHandler& handler_;
  const std::vector<Middleware>& middleware_;
  const std::span<const RawBatchTask> tasks_;
  std::vector<TaskRun> runs_;
  std::vector<RawBatchTask> let_through_;
  std::vector<Outcome> outcomes_;  // of those
  std::exception_ptr thrown_;      // instead of them
};

}  // namespace

std::vector<Outcome> RunBatch(const RawBatchHandler& handler, std::span<const RawBatchTask> tasks) {
  try {
    return CallHandler(handler, tasks);
  } catch (...) {
    return std::vector<Outcome>(tasks.size(), OutcomeOfThrown());
  }
}

RawBatchHandler WrapBatch(RawBatchHandler handler, std::vector<Middleware> middleware) {
  if (middleware.empty()) return handler;
  return [handler = std::move(handler), middleware = std::move(middleware)](std::span<const RawBatchTask> tasks) {
    return WrappedCall(handler, middleware, tasks).Run();
  };
}

}  // namespace penstock
