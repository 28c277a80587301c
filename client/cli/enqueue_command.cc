#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/enqueue_lines.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/task_options.h"
#include "client/cli/task_wait.h"
#include "client/task_spec.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

struct EnqueueArguments : TaskOptions {
  bool stdin_lines = false;
  bool wait = false;
  std::string request_id;
  std::optional<absl::Duration> delay;
  std::optional<absl::Time> run_at;
  std::optional<absl::Time> expire_at;
  std::optional<absl::Duration> expire_in;
  std::optional<absl::Duration> start_within;
};

NewTask ToTask(const EnqueueArguments& arguments, absl::Time now) {
  NewTask task = MakeTask(arguments);
  EnqueueOptions& options = task.options;
  options.delay = arguments.delay.value_or(absl::ZeroDuration());
  options.run_at = arguments.run_at;
  options.expire_at = arguments.expire_at;
  if (arguments.expire_in) options.expire_at = now + *arguments.expire_in;
  options.start_within = arguments.start_within.value_or(absl::ZeroDuration());
  return task;
}

absl::StatusOr<int> WaitForResult(CommandContext& context, const std::string& id) {
  ASSIGN_OR_RETURN(const v1::Task task, WaitUntilFinished(context, id, context.WaitDeadline()));
  if (context.globals.format != Format::kTable) {
    RETURN_IF_ERROR(PrintMessage(context, task, task.task_id(), nullptr));
  } else if (task.state() == v1::TASK_STATE_COMPLETED) {
    RETURN_IF_ERROR(PrintBytes(context, task.result(), "result", task.result_content_type(), ""));
  }
  return ReportOutcome(context, task);
}

absl::StatusOr<int> EnqueueOne(CommandContext& context, const EnqueueArguments& arguments) {
  NewTask task = ToTask(arguments, context.Now());
  if (!arguments.file.empty()) {
    ASSIGN_OR_RETURN(task.payload, ReadPayload(context, arguments.file));
  }
  v1::EnqueueRequest request;
  request.set_request_id(arguments.request_id);
  RETURN_IF_ERROR(FillTaskSpec(std::move(task), request.mutable_task()));
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::EnqueueResponse response, broker->Call(&TaskStub::Enqueue, request));
  const std::string& id = response.result().task_id();
  if (response.result().replaced()) {
    context.Note(fmt::format("task {} has the same unique key, and is now what this one was to be", id));
  } else if (response.result().duplicate()) {
    context.Note(fmt::format("nothing was enqueued: task {} has the same unique key", id));
  }
  if (arguments.wait) {
    if (!response.result().duplicate()) context.Note(fmt::format("task {}", id));
    return WaitForResult(context, id);
  }
  RETURN_IF_ERROR(PrintMessage(context, response.result(), id, [&] { return id + "\n"; }));
  return kExitOk;
}

absl::Status Check(const EnqueueArguments& arguments, bool has_payload) {
  if (has_payload + !arguments.file.empty() + arguments.stdin_lines > 1) {
    return absl::InvalidArgumentError("say one of PAYLOAD, --file and --stdin-lines");
  }
  if (arguments.stdin_lines && (arguments.wait || !arguments.request_id.empty() || !arguments.unique_key.empty())) {
    return absl::InvalidArgumentError("--wait, --request-id and --unique-key are for one task, --stdin-lines for many");
  }
  if (arguments.expire_at && arguments.expire_in)
    return absl::InvalidArgumentError("say --expire-at or --expire-in, not both");
  if (arguments.start_within && (arguments.expire_at || arguments.expire_in))
    return absl::InvalidArgumentError("say --start-within or when it expires, not both");
  if (arguments.run_at && arguments.delay) return absl::InvalidArgumentError("say --run-at or --delay, not both");
  return absl::OkStatus();
}

void AddTimeOptions(CLI::App& command, EnqueueArguments* out) {
  AddDuration(command, "--delay", &out->delay, "Not before this long from now");
  AddTime(command, "--run-at", &out->run_at, "Not before this time, for instance 2026-11-22T15:04:05Z");
  AddTime(command, "--expire-at", &out->expire_at, "Dead if not begun by then");
  AddDuration(command, "--expire-in", &out->expire_in, "The same, from now");
  AddDuration(command, "--start-within", &out->start_within, "The same, from when it is first due");
}

}  // namespace

void AddEnqueueCommand(CLI::App& root, Action* action) {
  auto arguments = std::make_shared<EnqueueArguments>();
  CLI::App& command =
      AddCommand(root, "enqueue", "Hands over a task, or one for each line of standard input; prints the task's id",
                 "penstock enqueue mail mail.send '{\"to\": \"ann\"}' --content-type application/json\n"
                 "penstock enqueue reports report.generate --file request.bin --wait > report.html\n"
                 "penstock enqueue mail mail.send hello --delay 10m --max-attempts 5 --unique-key ann-hello\n"
                 "penstock enqueue thumbs thumb.make --stdin-lines < paths.txt");
  AddText(command, "QUEUE", &arguments->queue, "QUEUE", "The queue; it appears on first use")->required();
  AddText(command, "TYPE", &arguments->type, "TYPE", "Names the handler")->required();
  CLI::Option* payload =
      AddText(command, "PAYLOAD", &arguments->payload, "PAYLOAD", "What the handler gets; default: nothing");
  AddText(command, "--file", &arguments->file, "FILE", "Take the payload from there; - is standard input");
  command.add_flag("--stdin-lines", arguments->stdin_lines,
                   "A task for each line of standard input that is not empty, the line its payload");
  command.add_flag("--wait", arguments->wait, "Wait until it is finished, at most --timeout, and print its result");
  AddText(command, "--request-id", &arguments->request_id, "ID",
          "Makes repeating this command safe: the same id gives the same task for 10 min");
  AddTimeOptions(command, arguments.get());
  AddTaskOptions(command, arguments.get());
  command.callback([arguments, payload, action] {
    const bool has_payload = payload->count() > 0;
    *action = [arguments, has_payload](CommandContext& context) -> absl::StatusOr<int> {
      RETURN_IF_ERROR(Check(*arguments, has_payload));
      if (!arguments->stdin_lines) return EnqueueOne(context, *arguments);
      const NewTask model = ToTask(*arguments, context.Now());
      return EnqueueLines(context, model);
    };
  });
}

}  // namespace penstock::cli
