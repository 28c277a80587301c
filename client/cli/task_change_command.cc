// task update and task delete.

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
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
  std::vector<std::string> tags;
  std::optional<int> priority;
  std::optional<absl::Duration> delay;
  std::optional<absl::Time> run_at;
  std::optional<absl::Time> expire_at;
  std::optional<absl::Duration> run_timeout;
  std::optional<absl::Duration> retention;
  std::optional<std::string> group;
  std::optional<int> cost;
  std::optional<int> revision;
};

absl::StatusOr<TaskChange> ToChange(CommandContext& context, const UpdateOptions& options) {
  if (options.payload && !options.file.empty()) return absl::InvalidArgumentError("say --payload or --file, not both");
  if (options.run_at && options.delay) return absl::InvalidArgumentError("say --run-at or --delay, not both");
  TaskChange change;
  change.queue = options.queue;
  change.payload = options.payload;
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(change.payload, ReadPayload(context, options.file));
  }
  change.content_type = options.content_type;
  if (!options.tags.empty()) change.tags = options.tags;
  change.priority = options.priority;
  change.delay = options.delay;
  change.run_at = options.run_at;
  change.expire_at = options.expire_at;
  change.run_timeout = options.run_timeout;
  change.result_retention = options.retention;
  change.group = options.group;
  if (options.cost) change.cost = static_cast<uint32_t>(*options.cost);
  if (options.revision) change.revision = static_cast<uint32_t>(*options.revision);
  return change;
}

absl::StatusOr<int> UpdateTasks(CommandContext& context, const UpdateOptions& options) {
  ASSIGN_OR_RETURN(const TaskChange change, ToChange(context, options));
  v1::UpdateTaskRequest request;
  RETURN_IF_ERROR(FillUpdate(TaskId(), change, &request));
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(options.ids, [&](const std::string& id) -> absl::Status {
    request.set_task_id(id);
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

}  // namespace

void AddTaskChangeCommands(CLI::App& group, Action* action) {
  auto updated = std::make_shared<UpdateOptions>();
  CLI::App& update = AddCommand(group, "update", "Changes tasks that wait; what is not given stays",
                                "penstock task update 0000000004000 --priority 9\n"
                                "penstock task update 0000000004000 --queue slow --delay 10m\n"
                                "penstock task update 0000000004000 --file corrected.json --revision 0");
  AddNames(update, "TASK", &updated->ids, "One or more ids");
  AddNewText(update, "--queue", &updated->queue, "QUEUE", "Move it there");
  AddNewText(update, "--payload", &updated->payload, "PAYLOAD", "What the handler gets");
  AddText(update, "--file", &updated->file, "FILE", "Take the payload from there; - is standard input");
  AddNewText(update, "--content-type", &updated->content_type, "TYPE", "What the payload is");
  AddTexts(update, "--tag", &updated->tags, "TAG", "In place of the tags that it has; may be repeated");
  AddNumber(update, "--priority", &updated->priority, 0, 9, "9 is most urgent");
  AddDuration(update, "--delay", &updated->delay, "Not before this long from now; 0s: now");
  AddTime(update, "--run-at", &updated->run_at, "Not before this time, for instance 2026-11-22T15:04:05Z");
  AddTime(update, "--expire-at", &updated->expire_at, "Dead if not begun by then");
  AddDuration(update, "--run-timeout", &updated->run_timeout, "Longest run of an attempt");
  AddDuration(update, "--retention", &updated->retention, "How long the completed task and its result are kept");
  AddNewText(update, "--group", &updated->group, "GROUP", "Groups share the queue's worker time by their weights");
  AddNumber(update, "--cost", &updated->cost, 1, 1'000, "What the task counts for in throttles");
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
