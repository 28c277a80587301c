#ifndef PENSTOCK_WORKER_HANDLER_H_
#define PENSTOCK_WORKER_HANDLER_H_

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "worker/outcome.h"
#include "worker/task_context.h"

namespace penstock {

// Called from several threads at once. What it throws is a failed attempt, and harms no other.
using RawHandler = std::function<Outcome(TaskContext& context, std::string_view payload)>;

// One task of a batch, with what its payload is: a message, a JSON value.
template <class Request>
struct BatchTask {
  TaskContext& context;
  const Request& request;
};

// One task of a batch, with its payload's bytes.
struct RawBatchTask {
  TaskContext& context;
  std::string_view payload;
};

// Called with several tasks of a type at once, and returns an outcome for each, in their order. For what costs about as
// much for many as for one: an INSERT of many rows, a call of an API that takes lists. Every task keeps a life of its
// own: its context (token, deadline, cancellation, progress, checkpoint, what it enqueues), its outcome, its attempts.
// Another number of outcomes than tasks, or an exception, fails them all. Called from several threads at once.
using RawBatchHandler = std::function<std::vector<Outcome>(std::span<const RawBatchTask> tasks)>;

// Wraps every handler: calls `next` to go on, before, after or not at all. The first that was added is the outermost.
//
// The tasks of a batch go through it one by one, as if each were alone: all that comes before `next` happens for one
// after the other, then the batch handler is called with those whose `next` was called, then comes what follows `next`,
// in reverse order. What the batch handler throws is thrown out of each `next`. A `next` that is called again runs its
// task alone.
using Middleware = std::function<Outcome(TaskContext& context, std::string_view payload, const RawHandler& next)>;

struct HandlerOptions {
  // Tasks of this type that run at once in this worker; 0: as many as there are slots.
  int max_concurrency = 0;
};

// A batch runs on one thread, and each of its tasks takes a slot, until the handler returns. So a worker with a
// concurrency of 100 runs one batch of 100, or two of 50, and asks the broker for the next ones meanwhile.
struct BatchOptions {
  // Tasks in one call, at most: 1 to the tasks of the type that run at once (WorkerOptions::concurrency or
  // max_concurrency); 0: as many as that.
  int max_size = 0;
  // How long the first task of a batch waits for company while there are fewer; and after that, while other tasks have
  // the slots, for more than one slot to come free. 0: takes what there is. At most 10 s.
  absl::Duration max_wait = absl::Milliseconds(10);
  // As in HandlerOptions.
  int max_concurrency = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_HANDLER_H_
