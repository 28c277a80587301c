#ifndef PENSTOCK_TESTS_CHECKER_RULES_H_
#define PENSTOCK_TESTS_CHECKER_RULES_H_

#include "tests/checker/index.h"

namespace penstock::histcheck {

// The rules that have a file of their own. Each reports to the index what breaks it; README.md says each in a line.

// Of a task that became another, by an update or by an enqueue with its unique key, nobody is given what it was before.
void CheckChanges(Index* index);
// At any time one task has a unique key, for as long as its scope says.
void CheckUnique(Index* index);
// A queue with a limit never has more waiting, and gives up the oldest if it gives up any.
void CheckWaiting(Index* index);
// A throttle never lets more run, or start, than it says.
void CheckThrottles(Index* index);
// The tasks that a completion brings are there if it was accepted, and only then.
void CheckBrought(Index* index);
// A bulk job changes what it is for, counts it, and ends.
void CheckBulk(Index* index);
// Whether a task as it was asked for is one of a bulk job's, whatever its state.
bool MayFit(const Event& bulk, const Event& task);
// Counters equal a recount.
void CheckCounters(Index* index);

}  // namespace penstock::histcheck

#endif  // PENSTOCK_TESTS_CHECKER_RULES_H_
