#ifndef PENSTOCK_WORKER_THROWN_H_
#define PENSTOCK_WORKER_THROWN_H_

#include "worker/outcome.h"

namespace penstock {

// The failed attempt that the exception being handled makes of a task: its type and its text.
// REQUIRES: called from a catch block.
Outcome OutcomeOfThrown();

}  // namespace penstock

#endif  // PENSTOCK_WORKER_THROWN_H_
