#ifndef PENSTOCK_WORKER_EXECUTOR_H_
#define PENSTOCK_WORKER_EXECUTOR_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/mutex.h"
#include "worker/outcome.h"
#include "worker/task_context.h"
#include "worker/worker.h"

namespace penstock {

// The threads that run handlers, one a slot. What a handler throws becomes a failed attempt. A handler that does not return keeps its thread.
class Executor {
 public:
  // Told by the threads what happens, without any lock of the executor.
  class Observer : public TaskContext::Sink {
   public:
    // False: the task shall not start.
    virtual bool OnStart(TaskId task, uint64_t token) = 0;
    virtual void OnFinish(TaskId task, uint64_t token, Outcome outcome) = 0;
  };

  // `observer` outlives every handler.
  Executor(int threads, std::map<std::string, RawHandler> handlers, std::shared_ptr<Observer> observer);
  // Threads whose handlers do not return are left behind; they touch nothing but the observer, which they keep alive.
  ~Executor();

  void Submit(std::vector<TaskDelivery> tasks);
  void Cancel(TaskId task, CancelReason reason);
  // Drops what has not started; the core has handed it back.
  void Clear();
  // Ends the threads that are not in a handler. Safe twice.
  void Stop();

  // The outcome of one run, exceptions included; for tests and middleware-free use.
  static Outcome RunHandler(const RawHandler& handler, TaskContext& context, std::string_view payload);

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_EXECUTOR_H_
