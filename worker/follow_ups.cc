#include "worker/follow_ups.h"

#include <utility>

#include "fmt/format.h"

namespace penstock {

absl::Status FollowUps::Add(v1::TaskSpec task) {
  if (tasks.size() >= kFollowUpsMax) {
    return absl::ResourceExhaustedError(fmt::format(
        "a completion enqueues at most {} tasks; let one of them enqueue the rest, or use a client", kFollowUpsMax));
  }
  const size_t size = task.ByteSizeLong();
  if (bytes + size > kFollowUpBytesMax) {
    return absl::ResourceExhaustedError(
        fmt::format("a completion enqueues at most {} bytes of tasks, would enqueue {}; store large data elsewhere and "
                    "enqueue where, or use a client",
                    kFollowUpBytesMax, bytes + size));
  }
  bytes += size;
  tasks.push_back(std::move(task));
  return absl::OkStatus();
}

}  // namespace penstock
