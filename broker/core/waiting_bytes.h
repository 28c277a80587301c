#ifndef PENSTOCK_BROKER_CORE_WAITING_BYTES_H_
#define PENSTOCK_BROKER_CORE_WAITING_BYTES_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "broker/core/core_context.h"
#include "broker/core/lifecycle.h"

namespace penstock::broker {

// Visits what waits in a lane, with the size of its TaskSpec: what was enqueued without delay, then what has a timer,
// with `due_only` only what is due. Stops when `visit` says false; then it returns false. Unreadable tasks are passed
// over.
bool VisitWaiting(CoreContext& context, Lifecycle& lifecycle, const Lane& lane, bool due_only,
                  absl::FunctionRef<bool(TaskId task, uint64_t size)> visit);

// max_waiting_bytes of the queue was set, changed or taken away (`before`: what it was): begins to count, or ends it.
// What waits already is counted only if it is not much.
void StartCountingBytes(CoreContext& context, Lifecycle& lifecycle, QueueState* queue, uint64_t before);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_WAITING_BYTES_H_
