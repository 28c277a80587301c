#ifndef PENSTOCK_CLIENT_TASK_FILTER_H_
#define PENSTOCK_CLIENT_TASK_FILTER_H_

// Which tasks a list shows or a bulk job changes. docs/filters.md says what fits; limits: proto/penstock/v1/task.proto.

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/task.h"

namespace penstock {

// Tasks that everything that is set fits.
struct TaskFilter {
  std::string queue = {};              // required
  std::vector<TaskState> states = {};  // empty: all
  std::string type = {};
  std::string tag = {};
  std::string key = {};  // their FIFO key
  std::string group = {};
  std::optional<absl::Time> created_from = {};    // accepted by the broker at this time or later
  std::optional<absl::Time> created_before = {};  // before this time
  std::string error = {};                         // in the type or message of the last attempt's error
  std::string where = {};                         // of payloads that are JSON: "payload.customer == 42"
};

struct TaskPage {
  std::vector<TaskInfo> tasks = {};  // without payloads, results and attempts
  std::string next_page_token = {};  // empty: these were the last
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_TASK_FILTER_H_
