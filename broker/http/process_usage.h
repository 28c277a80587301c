#ifndef PENSTOCK_BROKER_HTTP_PROCESS_USAGE_H_
#define PENSTOCK_BROKER_HTTP_PROCESS_USAGE_H_

#include <cstdint>

#include "absl/time/time.h"

namespace penstock::broker {

// What this process has used. A value that the system does not tell is 0.
struct ProcessUsage {
  absl::Duration cpu;  // user and system time since it began
  uint64_t resident_bytes = 0;
  uint64_t written_bytes = 0;  // to disks, as the kernel counts it: the log, table files and all else
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;
};

// Any thread.
ProcessUsage ReadProcessUsage();

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_HTTP_PROCESS_USAGE_H_
