#ifndef PENSTOCK_TESTS_GOLDEN_GOLDEN_DUMP_H_
#define PENSTOCK_TESTS_GOLDEN_GOLDEN_DUMP_H_

#include <string>

#include "absl/status/statusor.h"

namespace penstock::broker {

// Everything in a data folder as text: the core's state, and every task as the API shows it. Changes nothing.
absl::StatusOr<std::string> DumpDataDir(const std::string& path);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_GOLDEN_GOLDEN_DUMP_H_
