#ifndef PENSTOCK_CLIENT_CLI_TASK_LISTS_H_
#define PENSTOCK_CLIENT_CLI_TASK_LISTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/arguments.h"
#include "client/cli/context.h"
#include "penstock/v1/task.pb.h"

namespace penstock::cli {

struct TaskFilter {
  std::string queue;  // empty: all queues
  v1::TaskState state = v1::TASK_STATE_UNSPECIFIED;
  std::string type;
  std::string tag;
  PageOptions page;
};

// Options that both `task list` and `dead list` have.
void AddTaskFilterOptions(CLI::App& command, TaskFilter* out);

// Prints the tasks that match. `things`: what there is none of, if so.
absl::StatusOr<int> ListTasks(CommandContext& context, const TaskFilter& filter, const std::string& things);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_TASK_LISTS_H_
