#ifndef PENSTOCK_TESTS_SUPPORT_RECOUNT_H_
#define PENSTOCK_TESTS_SUPPORT_RECOUNT_H_

#include <string>

#include "broker/core/options.h"
#include "broker/storage/store.h"

namespace penstock::broker {

// Counts everything in a store from scratch and compares it with what the core wrote down about it: the queues' and
// lanes' counters, the blocks' bitmaps, and that every task is in exactly one place (a lane, a timer, a lease, the dead
// set, or finished) and every index entry belongs to something. Returns what does not fit, a line each; empty when all
// does. The store must be that of a core of which nothing is in flight.
std::string Recount(const CoreOptions& options, const StoreReader& store);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SUPPORT_RECOUNT_H_
