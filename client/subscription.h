#ifndef PENSTOCK_CLIENT_SUBSCRIPTION_H_
#define PENSTOCK_CLIENT_SUBSCRIPTION_H_

// Hearing of tasks as they finish, for Client::Subscribe.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/task.h"

namespace penstock {

struct SubscribeOptions {
  std::string type = {};               // only tasks of this type; empty: all
  std::vector<TaskState> states = {};  // of completed, cancelled and dead; empty: all three
};

// A task that has finished. Wait and GetTask tell more of it.
struct FinishedTask {
  TaskId id = {};
  TaskState state = TaskState::kUnknown;
  std::string type = {};
  int attempt = 0;  // begun
  absl::Time time = {};
  std::string dead_reason = {};  // attempts used up, rejected, expired, dropped, timed out
};

struct SubscriptionUpdate {
  std::vector<FinishedTask> tasks = {};
  // The callback was too slow: so many more finished after these, and are not told.
  uint64_t missed = 0;
  // The connection was lost before these, or the broker started anew: what finished meanwhile is not told, and nobody
  // knows how much it is.
  bool gap = false;
};

using SubscribeCallback = std::function<void(absl::StatusOr<SubscriptionUpdate>)>;

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_SUBSCRIPTION_H_
