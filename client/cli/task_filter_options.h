#ifndef PENSTOCK_CLIENT_CLI_TASK_FILTER_OPTIONS_H_
#define PENSTOCK_CLIENT_CLI_TASK_FILTER_OPTIONS_H_

// The options that say which tasks: of lists, and of bulk jobs.

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/cli/arguments.h"
#include "penstock/v1/task.pb.h"

namespace penstock::cli {

struct TaskFilterOptions {
  std::string queue;
  std::vector<v1::TaskState> states;  // empty: all
  std::string type;
  std::string tag;
  std::string key;
  std::string group;
  std::optional<Moment> created_after;
  std::optional<Moment> created_before;
  std::string error;
  std::string where;
};

// --state, several times or several with commas, of these states.
void AddStateOption(CLI::App& command, TaskFilterOptions* out, const std::vector<v1::TaskState>& states);
// All the others.
void AddTaskFilterOptions(CLI::App& command, TaskFilterOptions* out);

// `queue` in place of the options'.
v1::TaskFilter MakeFilter(const TaskFilterOptions& options, const std::string& queue, absl::Time now);
// What it says for people: "dead, of type mail.send, payload.customer == 42"; of an empty one "all".
std::string Describe(const v1::TaskFilter& filter);
// Anything but queue, states and type.
bool IsDetailed(const TaskFilterOptions& options);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_TASK_FILTER_OPTIONS_H_
