#ifndef PENSTOCK_TESTS_CHECKER_PERIODS_H_
#define PENSTOCK_TESTS_CHECKER_PERIODS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/checker/index.h"

namespace penstock::histcheck {

// From its answer until somebody asked for another, a setting surely held.
struct Period {
  const Event* asked = nullptr;
  const Event* told = nullptr;
  int64_t until = kNever;
};

// `asks`: all that change one setting, in their order. Those that were refused changed nothing. After one without an
// answer nothing is sure any more: it may be done at any time.
inline std::vector<Period> SurePeriods(const std::vector<const Ask*>& asks) {
  std::vector<Period> periods;
  int64_t done = INT64_MIN;  // when all earlier ones were
  for (const Ask* ask : asks) {
    if (ask->refused()) continue;
    if (!periods.empty()) periods.back().until = std::min(periods.back().until, ask->asked->t);
    if (!ask->ok()) break;
    if (ask->asked->t > done) periods.push_back({ask->asked, ask->told});
    done = std::max(done, ask->told->t);
  }
  return periods;
}

}  // namespace penstock::histcheck

#endif  // PENSTOCK_TESTS_CHECKER_PERIODS_H_
