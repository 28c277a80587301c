#ifndef PENSTOCK_TESTS_CHECKER_CHECKER_H_
#define PENSTOCK_TESTS_CHECKER_CHECKER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/checker/history.h"

namespace penstock::histcheck {

// A promise that was not kept.
struct Violation {
  std::string rule;  // README.md lists them
  std::string what;
  std::vector<size_t> lines;  // of the history, from 1
};

struct Verdict {
  std::vector<Violation> violations;
  // Quality, not failure:
  uint64_t tasks = 0;
  uint64_t deliveries = 0;
  uint64_t redeliveries = 0;  // beyond the first of each task
  uint64_t completions = 0;   // accepted
  uint64_t refusals = 0;      // of stale leases
};

// Judges a history, whose lines are in the order of time. O(n log n).
Verdict Check(const History& history);

}  // namespace penstock::histcheck

#endif  // PENSTOCK_TESTS_CHECKER_CHECKER_H_
