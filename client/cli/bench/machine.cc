#include "client/cli/bench/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

#include "common/clock.h"

namespace penstock::cli {
namespace {

constexpr int kSyncs = 100;
constexpr size_t kSyncBytes = 4096;

}  // namespace

absl::StatusOr<Histogram> MeasureFdatasync(const std::string& folder) {
  std::string path = folder + "/penstock-bench-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0) return absl::ErrnoToStatus(errno, "--fsync-dir: cannot make a file in " + folder);
  unlink(path.c_str());
  const std::vector<char> bytes(kSyncBytes, 'x');
  Histogram times;
  absl::Status status;
  for (int i = 0; i < kSyncs && status.ok(); ++i) {
    const absl::Duration begin = SystemClock().Read().elapsed;
    if (write(file, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) || fdatasync(file) != 0) {
      status = absl::ErrnoToStatus(errno, "--fsync-dir: cannot write in " + folder);
    }
    times.Add(SystemClock().Read().elapsed - begin);
  }
  close(file);
  if (!status.ok()) return status;
  return times;
}

absl::Duration OwnCpu() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime);
}

}  // namespace penstock::cli
