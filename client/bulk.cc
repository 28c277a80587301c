#include "client/bulk.h"

#include <algorithm>

#include "common/status.h"

namespace penstock {
namespace {

// How often a job is looked at: soon at first, for short ones.
constexpr absl::Duration kPauseMin = absl::Milliseconds(20);
constexpr absl::Duration kPauseMax = absl::Seconds(1);

}  // namespace

absl::StatusOr<BulkJobInfo> BulkClient::Wait(const std::string& id, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  absl::Duration pause = kPauseMin;
  while (true) {
    ASSIGN_OR_RETURN(BulkJobInfo job, Get(id));
    if (job.ended()) return job;
    if (absl::Now() >= deadline) return absl::DeadlineExceededError("bulk job " + id + " runs still");
    absl::SleepFor(std::min(pause, deadline - absl::Now()));
    pause = std::min(pause * 2, kPauseMax);
  }
}

}  // namespace penstock
