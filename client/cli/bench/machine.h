#ifndef PENSTOCK_CLIENT_CLI_BENCH_MACHINE_H_
#define PENSTOCK_CLIENT_CLI_BENCH_MACHINE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/bench/histogram.h"

namespace penstock::cli {

// What figures of one machine have to be seen against.
struct Machine {
  int cores = 0;
  std::string fsync_dir;
  Histogram fdatasync;   // of 4 KiB appended to a file
  Histogram round_trip;  // of a small call to the broker
};

// Appends 4 KiB to a file in `folder` and waits for fdatasync, 100 times. The file is gone afterwards.
absl::StatusOr<Histogram> MeasureFdatasync(const std::string& folder);

// User and system time of this process.
absl::Duration OwnCpu();

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_MACHINE_H_
