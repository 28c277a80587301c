#ifndef PENSTOCK_CLIENT_CLI_QUEUE_WATCH_H_
#define PENSTOCK_CLIENT_CLI_QUEUE_WATCH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/context.h"
#include "penstock/v1/task.pb.h"

namespace penstock::cli {

struct QueueWatchOptions {
  std::string queue;
  std::string type;
  std::vector<v1::TaskState> states;  // none: all
};

// Prints tasks of a queue as they finish, until --timeout has passed or somebody interrupts it. A broker that goes away
// is waited for; what was missed is told on standard error.
absl::StatusOr<int> WatchQueue(CommandContext& context, const QueueWatchOptions& options);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_QUEUE_WATCH_H_
