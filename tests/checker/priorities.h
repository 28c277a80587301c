#ifndef PENSTOCK_TESTS_CHECKER_PRIORITIES_H_
#define PENSTOCK_TESTS_CHECKER_PRIORITIES_H_

#include "tests/checker/index.h"

namespace penstock::histcheck {

// Rule `priority`: among workers that take the same, in the order of tokens, while a task surely waits, lower
// priorities get at most one delivery in burst + 1, and higher ones do not go on for ever. A history whose config has
// no `n` (the burst), or whose clock jumped, is not judged.
void CheckPriorities(Index* index);

}  // namespace penstock::histcheck

#endif  // PENSTOCK_TESTS_CHECKER_PRIORITIES_H_
