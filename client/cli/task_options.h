#ifndef PENSTOCK_CLIENT_CLI_TASK_OPTIONS_H_
#define PENSTOCK_CLIENT_CLI_TASK_OPTIONS_H_

// What commands that describe a task have in common: enqueue, and schedules.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/context.h"
#include "client/cli/retry_options.h"
#include "client/task.h"

namespace penstock::cli {

// A task but for when it runs.
struct TaskOptions {
  std::string queue;
  std::string type;
  std::string payload;
  std::string file;  // take the payload from there
  std::optional<int> priority;
  std::optional<absl::Duration> run_timeout;
  std::optional<absl::Duration> life_timeout;
  RetryOptions retry;
  std::string unique_key;
  std::optional<absl::Duration> unique_window;
  bool unique_while_waiting = false;
  UniqueConflict on_conflict = UniqueConflict::kKeep;
  std::string key;
  std::string group;
  std::optional<int> cost;
  std::optional<absl::Duration> retention;
  std::map<std::string, std::string> headers;
  std::map<std::string, std::string> worker_labels;
  std::vector<std::string> tags;
  std::string content_type;
};

// The options; not queue, type, payload and file, which each command names in its own way.
void AddTaskOptions(CLI::App& command, TaskOptions* out);

// The payload as given; see ReadPayload.
NewTask MakeTask(const TaskOptions& options);
// What a file has, or standard input (-).
absl::StatusOr<std::string> ReadPayload(CommandContext& context, const std::string& file);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_TASK_OPTIONS_H_
