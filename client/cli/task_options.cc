#include "client/cli/task_options.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <istream>

#include "client/cli/arguments.h"
#include "client/task_spec.h"
#include "fmt/format.h"

namespace penstock::cli {

void AddTaskOptions(CLI::App& command, TaskOptions* out) {
  AddNumber(command, "--priority", &out->priority, 0, 9, "9 is most urgent")->default_str("5");
  AddDuration(command, "--run-timeout", &out->run_timeout, "Longest run of an attempt [the queue's, 30m]");
  AddDuration(command, "--life-timeout", &out->life_timeout,
              "Dead if not completed this long after it was first due, whatever the attempts");
  AddRetryOptions(command, RetryOf::kNewTask, &out->retry);
  AddText(command, "--unique-key", &out->unique_key, "KEY",
          "Enqueue nothing if a task of the queue with this key exists");
  AddDuration(command, "--unique-window", &out->unique_window, "For this long, instead of until that task is finished");
  command.add_flag("--unique-while-waiting", out->unique_while_waiting, "Until a worker gets that task");
  AddChoice<UniqueConflict>(
      command, "--on-conflict", &out->on_conflict,
      {{"keep", UniqueConflict::kKeep}, {"replace", UniqueConflict::kReplace}, {"debounce", UniqueConflict::kDebounce}},
      "If one has the key. keep: enqueue nothing; replace: that one, if no worker has had it, "
      "becomes this one; debounce: and runs when this one was to run");
  AddText(command, "--key", &out->key, "KEY", "Tasks of the queue with this key run one at a time and in order");
  AddText(command, "--group", &out->group, "GROUP", "Groups share the queue's worker time by their weights");
  AddNumber(command, "--cost", &out->cost, 1, 1'000, "What the task counts for in throttles")->default_str("1");
  AddDuration(command, "--retention", &out->retention,
              "How long the completed task and its result are kept [the queue's, 24h]");
  AddPairs(command, "--header", &out->headers, "For the handler; may be repeated");
  AddPairs(command, "--worker-label", &out->worker_labels,
           "Only a worker with this label runs the task; may be repeated");
  AddTexts(command, "--tag", &out->tags, "TAG", "To find it by; may be repeated");
  AddText(command, "--content-type", &out->content_type, "TYPE", "What the payload is [application/octet-stream]");
}

NewTask MakeTask(const TaskOptions& from) {
  NewTask task{.queue = from.queue, .type = from.type, .payload = from.payload, .options = {}};
  EnqueueOptions& options = task.options;
  options.unique_key = from.unique_key;
  options.unique_window = from.unique_window.value_or(absl::ZeroDuration());
  options.unique_while_waiting = from.unique_while_waiting;
  options.unique_conflict = from.on_conflict;
  options.key = from.key;
  options.group = from.group;
  options.cost = static_cast<uint32_t>(from.cost.value_or(1));
  options.priority = from.priority;
  options.run_timeout = from.run_timeout.value_or(absl::ZeroDuration());
  options.life_timeout = from.life_timeout.value_or(absl::ZeroDuration());
  options.result_retention = from.retention;
  SetPolicy(ToPolicy(from.retry), &options);
  options.headers = from.headers;
  options.worker_labels = from.worker_labels;
  options.tags = from.tags;
  options.content_type = from.content_type;
  return task;
}

absl::StatusOr<std::string> ReadPayload(CommandContext& context, const std::string& name) {
  std::ifstream file;
  if (name != "-") file.open(name, std::ios::binary);
  std::istream& in = name == "-" ? context.console.in : file;
  std::string content;
  char buffer[64 << 10];
  while (in.good()) {
    in.read(buffer, sizeof(buffer));
    content.append(buffer, static_cast<size_t>(in.gcount()));
  }
  // A folder can be opened; only reading it fails.
  if (!in.eof())
    return absl::InvalidArgumentError(fmt::format("--file: cannot read {}: {}", name, std::strerror(errno)));
  return content;
}

}  // namespace penstock::cli
