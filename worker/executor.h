#ifndef PENSTOCK_WORKER_EXECUTOR_H_
#define PENSTOCK_WORKER_EXECUTOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/task_id.h"
#include "worker/outcome.h"
#include "worker/task_context.h"
#include "worker/worker.h"

namespace penstock {

// The threads that run handlers, one a slot. What a handler throws becomes a failed attempt. A handler that does not
// return keeps its thread. Any thread may call it.
//
// A thread takes one task at a time, whatever waits: a second one would be stuck behind a long first one while other
// slots are free. What is cheap is the change from one task to the next: one call of the observer for the end of one
// and the start of the next, and no wake-up of other threads while one keeps up.
class Executor {
 public:
  // How a run ended.
  struct Ended {
    TaskId task;
    uint64_t token = 0;
    Outcome outcome;
  };

  // Told by the threads what happens, without any lock of the executor.
  class Observer : public TaskContext::Sink {
   public:
    // A thread ran `ended` (null: nothing yet) and takes up `next` (null: nothing waits). Returns whether `next` shall
    // start.
    virtual bool OnTurn(Ended* ended, const TaskDelivery* next) = 0;
  };

  // `observer` is kept alive as long as a handler runs.
  Executor(int threads, std::map<std::string, RawHandler> handlers, std::shared_ptr<Observer> observer);
  // Threads whose handlers do not return are left behind; they touch nothing but the observer, which they keep alive.
  ~Executor();

  void Submit(std::vector<TaskDelivery> tasks);
  // Nothing if that run is not under way.
  void Cancel(TaskId task, uint64_t token, CancelReason reason);
  // Drops what has not started; the core has handed it back.
  void Clear();
  // Ends the threads that are not in a handler. Safe twice.
  void Stop();

  // The outcome of one run, exceptions included.
  static Outcome RunHandler(const RawHandler& handler, TaskContext& context, std::string_view payload);

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_EXECUTOR_H_
