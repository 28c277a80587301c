#ifndef PENSTOCK_CLIENT_CLI_TASK_LISTS_H_
#define PENSTOCK_CLIENT_CLI_TASK_LISTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/context.h"
#include "client/cli/task_filter_options.h"

namespace penstock::cli {

struct TaskListOptions {
  TaskFilterOptions filter;  // without a queue: all queues
  PageOptions page;
};

// Prints the tasks that match. `things`: what there is none of, if so.
absl::StatusOr<int> ListTasks(CommandContext& context, const TaskListOptions& options, const std::string& things);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_TASK_LISTS_H_
