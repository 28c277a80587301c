#ifndef PENSTOCK_WORKER_FOLLOW_UPS_H_
#define PENSTOCK_WORKER_FOLLOW_UPS_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "penstock/v1/task.pb.h"

namespace penstock {

// Limits of what one completion enqueues. As many tasks as the API takes; and as many bytes as fit, together with a
// result of 1 MiB and the frame's other parts, into a message of 4 MiB (the broker's limits.message).
inline constexpr size_t kFollowUpsMax = 1'000;
inline constexpr size_t kFollowUpBytesMax = 2 << 20;

// Tasks that a handler enqueues with its completion, as they go on the wire. Not thread-safe.
struct FollowUps {
  std::vector<v1::TaskSpec> tasks;
  size_t bytes = 0;  // of all tasks, encoded

  // ResourceExhausted says which limit the task would go over; then it is not added.
  absl::Status Add(v1::TaskSpec task);
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_FOLLOW_UPS_H_
