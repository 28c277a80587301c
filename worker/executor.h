#ifndef PENSTOCK_WORKER_EXECUTOR_H_
#define PENSTOCK_WORKER_EXECUTOR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/task_id.h"
#include "worker/handler.h"
#include "worker/outcome.h"
#include "worker/task_context.h"

namespace penstock {

// The threads that run handlers. What a handler throws becomes a failed attempt. Of a run that was cancelled only Done
// counts: everything else becomes Release at the worker's end, Cancelled otherwise. A handler that does not return
// keeps its thread and the slots of its tasks. Any thread may call it.
//
// A thread takes one task at a time, or the tasks of one batch, whatever waits (worker/run_queue.h): a second one would
// be stuck behind a long first one while other slots are free. What is cheap is the change from one task to the next:
// one call of the observer for the end of one and the start of the next, and no wake-up of other threads while one
// keeps up. There are at most as many threads as slots; one is started when there is work for it and no other is idle,
// so that a worker whose many slots are filled by a few batches has a few threads.
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
    // A thread ran `ended` (empty: nothing yet) and takes up `next` (empty: nothing waits): one task each, or a
    // batch's. Takes the outcomes, and returns for each of `next` whether it shall start.
    virtual std::vector<bool> OnTurn(std::span<Ended> ended, std::span<const TaskDelivery> next) = 0;
  };

  // How tasks of a type run as a batch. max_size is at least 1.
  struct Batch {
    RawBatchHandler handler;
    BatchOptions options;
  };

  // `observer` is kept alive as long as a handler runs.
  Executor(int slots, std::map<std::string, RawHandler> handlers, std::shared_ptr<Observer> observer,
           std::map<std::string, Batch> batches = {});
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
