// task update and task delete.

#include <algorithm>
#include <map>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "client/cli/retry_options.h"
#include "client/cli/task_options.h"
#include "client/task_spec.h"
#include "common/status.h"
#include "common/task_id.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

struct UpdateOptions {
  std::vector<std::string> ids;
  std::optional<std::string> queue;
  std::optional<std::string> payload;
  std::string file;
  std::optional<std::string> content_type;
  std::map<std::string, std::string> headers;
  std::vector<std::string> tags;
  std::optional<int> priority;
  std::optional<absl::Duration> delay;
  std::optional<absl::Time> run_at;
  std::optional<absl::Time> expire_at;
  std::optional<absl::Duration> start_within;
  std::optional<absl::Duration> life_timeout;
  std::optional<absl::Duration> run_timeout;
  RetryOptions retry;
  std::optional<absl::Duration> retention;
  std::optional<std::string> group;
  std::optional<int> cost;
  std::map<std::string, std::string> worker_labels;
  std::vector<std::string> cleared;
  std::optional<int> revision;
};

// What --clear takes away: what the other options cannot say.
struct Clearable {
  const char* name;
  void (*clear)(TaskChange* change);
};
constexpr Clearable kClearable[] = {
    {"headers", [](TaskChange* change) { change->headers.emplace(); }},
    {"tags", [](TaskChange* change) { change->tags.emplace(); }},
    {"worker-labels", [](TaskChange* change) { change->worker_labels.emplace(); }},
    {"retry-policy", [](TaskChange* change) { change->retry_policy.emplace(); }},
    {"expire-at", [](TaskChange* change) { change->expire_at = absl::InfiniteFuture(); }},
};

bool IsCleared(const UpdateOptions& options, std::string_view name) {
  return std::find(options.cleared.begin(), options.cleared.end(), name) != options.cleared.end();
}

absl::StatusOr<TaskChange> ToChange(CommandContext& context, const UpdateOptions& options) {
  if (options.payload && !options.file.empty()) return absl::InvalidArgumentError("say --payload or --file, not both");
  if (options.run_at && options.delay) return absl::InvalidArgumentError("say --run-at or --delay, not both");
  if (options.start_within && options.expire_at) {
    return absl::InvalidArgumentError("say --start-within or --expire-at, not both");
  }
  TaskChange change;
  for (const Clearable& clearable : kClearable) {
    if (IsCleared(options, clearable.name)) clearable.clear(&change);
  }
  change.queue = options.queue;
  change.payload = options.payload;
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(change.payload, ReadPayload(context, options.file));
  }
  change.content_type = options.content_type;
  if (!options.headers.empty()) change.headers = options.headers;
  if (!options.tags.empty()) change.tags = options.tags;
  change.priority = options.priority;
  change.delay = options.delay;
  change.run_at = options.run_at;
  if (options.expire_at) change.expire_at = options.expire_at;
  change.start_within = options.start_within;
  change.life_timeout = options.life_timeout;
  change.run_timeout = options.run_timeout;
  if (options.retry.Any()) change.retry_policy = ToPolicy(options.retry);
  change.result_retention = options.retention;
  change.group = options.group;
  if (options.cost) change.cost = static_cast<uint32_t>(*options.cost);
  if (!options.worker_labels.empty()) change.worker_labels = options.worker_labels;
  if (options.revision) change.revision = static_cast<uint32_t>(*options.revision);
  return change;
}

// A retry policy is replaced as a whole: what was not given comes from the task, as long as that is what it was when it
// was looked at.
absl::Status KeepPolicy(Connection& broker, const RetryOptions& retry, v1::UpdateTaskRequest* request) {
  v1::GetTaskRequest get;
  get.set_task_id(request->task_id());
  ASSIGN_OR_RETURN(v1::GetTaskResponse response, broker.Call(&TaskStub::GetTask, get));
  v1::RetryPolicy* policy = response.mutable_task()->mutable_spec()->mutable_retry_policy();
  Apply(retry, policy);
  request->mutable_spec()->mutable_retry_policy()->Swap(policy);
  if (!request->has_revision()) request->set_revision(response.task().revision());
  return absl::OkStatus();
}

absl::StatusOr<int> UpdateTasks(CommandContext& context, const UpdateOptions& options) {
  ASSIGN_OR_RETURN(const TaskChange change, ToChange(context, options));
  v1::UpdateTaskRequest model;
  RETURN_IF_ERROR(FillUpdate(TaskId(), change, &model));
  const bool keeps_policy = options.retry.Any() && !IsCleared(options, "retry-policy");
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(options.ids, [&](const std::string& id) -> absl::Status {
    v1::UpdateTaskRequest request = model;
    request.set_task_id(id);
    if (keeps_policy) RETURN_IF_ERROR(KeepPolicy(*broker, options.retry, &request));
    ASSIGN_OR_RETURN(const v1::UpdateTaskResponse response, broker->Call(&TaskStub::UpdateTask, request));
    return PrintMessage(context, response, id, [&] {
      const absl::Time due = ToTime(response.run_time());
      return fmt::format("task {} changed (revision {}), {}\n", id, response.revision(),
                         due <= context.Now() ? "available" : "runs " + RelativeAndExact(due, context.Now()));
    });
  });
}

absl::StatusOr<int> DeleteTasks(CommandContext& context, const std::vector<std::string>& ids) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(ids, [&](const std::string& id) -> absl::Status {
    v1::DeleteTaskRequest request;
    request.set_task_id(id);
    ASSIGN_OR_RETURN(const v1::DeleteTaskResponse response, broker->Call(&TaskStub::DeleteTask, request));
    return PrintMessage(context, response, id, [&] { return fmt::format("task {} deleted\n", id); });
  });
}

// A text that may be empty.
void AddNewText(CLI::App& command, const std::string& name, std::optional<std::string>* out, const std::string& type,
                const std::string& help) {
  command
      .add_option_function<std::string>(
          name, [out](const std::string& text) { *out = text; }, help)
      ->type_name(type);
}

void AddClear(CLI::App& command, std::vector<std::string>* out) {
  std::string words;
  for (const Clearable& clearable : kClearable) words += (words.empty() ? "" : "|") + std::string(clearable.name);
  AddTexts(command, "--clear", out, words, "Take these away, or make them the queue's; may be repeated")
      ->check([words](const std::string& text) {
        for (const Clearable& clearable : kClearable) {
          if (text == clearable.name) return std::string();
        }
        return "'" + text + "' is none of " + words;
      });
}

}  // namespace

void AddTaskChangeCommands(CLI::App& group, Action* action) {
  auto updated = std::make_shared<UpdateOptions>();
  CLI::App& update = AddCommand(group, "update", "Changes tasks that wait; what is not given stays",
                                "penstock task update 0000000004000 --priority 9\n"
                                "penstock task update 0000000004000 --queue slow --delay 10m\n"
                                "penstock task update 0000000004000 --file corrected.json --revision 0\n"
                                "penstock task update 0000000004000 --max-attempts 50 --clear worker-labels");
  AddNames(update, "TASK", &updated->ids, "One or more ids");
  AddNewText(update, "--queue", &updated->queue, "QUEUE", "Move it there");
  AddNewText(update, "--payload", &updated->payload, "PAYLOAD", "What the handler gets");
  AddText(update, "--file", &updated->file, "FILE", "Take the payload from there; - is standard input");
  AddNewText(update, "--content-type", &updated->content_type, "TYPE", "What the payload is");
  AddPairs(update, "--header", &updated->headers, "In place of the headers that it has; may be repeated");
  AddTexts(update, "--tag", &updated->tags, "TAG", "In place of the tags that it has; may be repeated");
  AddNumber(update, "--priority", &updated->priority, 0, 9, "9 is most urgent");
  AddDuration(update, "--delay", &updated->delay, "Not before this long from now; 0s: now");
  AddTime(update, "--run-at", &updated->run_at, "Not before this time, for instance 2026-11-22T15:04:05Z");
  AddTime(update, "--expire-at", &updated->expire_at, "Dead if not begun by then");
  AddDuration(update, "--start-within", &updated->start_within, "The same, from when it is first due; 0s: no limit");
  AddDuration(update, "--life-timeout", &updated->life_timeout,
              "Dead if not completed this long after it was first due, whatever the attempts; 0s: no limit");
  AddDuration(update, "--run-timeout", &updated->run_timeout, "Longest run of an attempt; 0s: the queue's");
  AddRetryOptions(update, RetryOf::kTask, &updated->retry);
  AddDuration(update, "--retention", &updated->retention, "How long the completed task and its result are kept");
  AddNewText(update, "--group", &updated->group, "GROUP", "Groups share the queue's worker time by their weights");
  AddNumber(update, "--cost", &updated->cost, 1, 1'000, "What the task counts for in throttles");
  AddPairs(update, "--worker-label", &updated->worker_labels,
           "In place of the labels that its worker must have; may be repeated");
  AddClear(update, &updated->cleared);
  AddNumber(update, "--revision", &updated->revision, 0, INT32_MAX,
            "Only if it is this revision: nobody has changed it meanwhile");
  update.callback(
      [updated, action] { *action = [updated](CommandContext& context) { return UpdateTasks(context, *updated); }; });

  auto deleted = std::make_shared<std::vector<std::string>>();
  CLI::App& remove =
      AddCommand(group, "delete", "Deletes tasks that wait, are dead or cancelled, with all that is kept of them",
                 "penstock task delete 0000000004000");
  AddNames(remove, "TASK", deleted.get(), "One or more ids");
  remove.callback(
      [deleted, action] { *action = [deleted](CommandContext& context) { return DeleteTasks(context, *deleted); }; });
}

}  // namespace penstock::cli
