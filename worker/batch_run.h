#ifndef PENSTOCK_WORKER_BATCH_RUN_H_
#define PENSTOCK_WORKER_BATCH_RUN_H_

#include <span>
#include <vector>

#include "worker/handler.h"

namespace penstock {

// One outcome for each task, whatever the handler does: what it throws, and a wrong number of outcomes, fail them all.
std::vector<Outcome> RunBatch(const RawBatchHandler& handler, std::span<const RawBatchTask> tasks);

// `handler` with its tasks going through `middleware`, as Middleware says.
RawBatchHandler WrapBatch(RawBatchHandler handler, std::vector<Middleware> middleware);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_BATCH_RUN_H_
