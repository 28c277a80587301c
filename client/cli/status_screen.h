#ifndef PENSTOCK_CLIENT_CLI_STATUS_SCREEN_H_
#define PENSTOCK_CLIENT_CLI_STATUS_SCREEN_H_

// What `penstock status` and `penstock top` show, as text.

#include <string>

#include "absl/time/time.h"

namespace penstock::v1 {
class GetStatusResponse;
class Queue;
}  // namespace penstock::v1

namespace penstock::cli {

enum class QueueOrder { kOldest, kName, kAvailable, kRunning, kDead, kIn, kOut };

struct ScreenOptions {
  std::string endpoint;
  absl::Time now;
  int columns = 0;  // 0: nothing is cut
  int rows = 0;     // 0: all queues and workers are shown
  bool color = false;
  bool headers = true;
  QueueOrder order = QueueOrder::kOldest;  // kOldest: as the broker sent them
};

std::string RenderStatus(const v1::GetStatusResponse& status, const ScreenOptions& options);

// No problems, and every waiting task has a worker that could run it.
bool IsHealthy(const v1::GetStatusResponse& status);

// "paused, relaxed": what is out of the ordinary about a queue.
std::string FlagsOf(const v1::Queue& queue);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_STATUS_SCREEN_H_
