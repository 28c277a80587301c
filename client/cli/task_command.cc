#include <algorithm>
#include <optional>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "client/cli/task_lists.h"
#include "client/cli/task_view.h"
#include "client/cli/task_wait.h"
#include "common/status.h"
#include "fmt/format.h"
#include "fmt/ostream.h"

namespace penstock::cli {
namespace {

// How far behind `task tail` may be.
constexpr absl::Duration kTailEvery = absl::Milliseconds(500);
// How often `task wait` looks whether a task waits for something outside.
constexpr absl::Duration kLookEvery = absl::Seconds(5);

absl::StatusOr<v1::Task> GetTask(CommandContext& context, const std::string& id, bool include_payload) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::GetTaskRequest request;
  request.set_task_id(id);
  request.set_include_payload(include_payload);
  ASSIGN_OR_RETURN(v1::GetTaskResponse response, broker->Call(&TaskStub::GetTask, request));
  return std::move(*response.mutable_task());
}

// Why a task waits, where it stands, and when it may start; nothing if it does not wait, or nobody can say.
std::optional<v1::ExplainTaskResponse> ExplainTask(CommandContext& context, const v1::Task& task) {
  const bool waits = task.state() == v1::TASK_STATE_SCHEDULED || task.state() == v1::TASK_STATE_AVAILABLE ||
                     task.state() == v1::TASK_STATE_RETRYABLE;
  if (!waits) return std::nullopt;
  auto broker = context.Broker();
  if (!broker.ok()) return std::nullopt;
  v1::ExplainTaskRequest request;
  request.set_task_id(task.task_id());
  auto explain = (*broker)->Call(&TaskStub::ExplainTask, request);
  if (!explain.ok()) return std::nullopt;
  return *std::move(explain);
}

absl::Status PrintTask(CommandContext& context, const v1::Task& task) {
  return PrintMessage(context, task, task.task_id(), [&] {
    const auto explain = ExplainTask(context, task);
    return RenderTask(context, task, explain ? &*explain : nullptr);
  });
}

struct GetOptions {
  std::vector<std::string> ids;
  bool payload = false;
};

absl::StatusOr<int> ShowTasks(CommandContext& context, const GetOptions& options) {
  bool first = true;
  return context.ForEach(options.ids, [&](const std::string& id) -> absl::Status {
    ASSIGN_OR_RETURN(const v1::Task task, GetTask(context, id, options.payload));
    if (!std::exchange(first, false) && context.globals.format == Format::kTable) context.console.out << "\n";
    return PrintTask(context, task);
  });
}

struct CancelOptions {
  std::vector<std::string> ids;
  std::string reason;
};

absl::StatusOr<int> CancelTasks(CommandContext& context, const CancelOptions& options) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(options.ids, [&](const std::string& id) -> absl::Status {
    v1::CancelTaskRequest request;
    request.set_task_id(id);
    request.set_reason(options.reason);
    ASSIGN_OR_RETURN(const v1::CancelTaskResponse response, broker->Call(&TaskStub::CancelTask, request));
    return PrintMessage(context, response, id, [&] {
      return response.state() == v1::TASK_STATE_CANCELLED
                 ? fmt::format("task {} cancelled\n", id)
                 : fmt::format("task {} is {} and was asked to stop\n", id, StateWord(response.state()));
    });
  });
}

absl::StatusOr<int> RetryTasks(CommandContext& context, const std::vector<std::string>& ids) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(ids, [&](const std::string& id) -> absl::Status {
    v1::RetryTaskRequest request;
    request.set_task_id(id);
    ASSIGN_OR_RETURN(const v1::RetryTaskResponse response, broker->Call(&TaskStub::RetryTask, request));
    return PrintMessage(context, response, id, [&] { return fmt::format("task {} is available\n", id); });
  });
}

absl::StatusOr<int> WaitForTasks(CommandContext& context, const std::vector<std::string>& ids) {
  const absl::Time deadline = context.WaitDeadline();
  // A wait that cannot end by itself should say so.
  std::string reason;
  double percent = -1;
  const auto look = [&](const v1::Task& task) {
    // Nor should somebody who sits and waits have to guess how long.
    if (context.console.err_is_terminal && task.has_progress() &&
        std::exchange(percent, task.progress().percent()) != task.progress().percent()) {
      context.Note(fmt::format("task {} runs: {}", task.task_id(), ProgressText(task.progress())));
    }
    if (!task.waiting_reason().empty() && task.waiting_reason() != reason) {
      reason = task.waiting_reason();
      context.Note(fmt::format("task {} waits: {}", task.task_id(), Printable(reason)));
    }
    return absl::OkStatus();
  };
  const bool as_table = context.globals.format == Format::kTable;
  ListPrinter table(context, "tasks", TaskColumns());
  std::vector<int> codes;
  for (const std::string& id : ids) {
    const absl::StatusOr<v1::Task> task = WaitUntilFinished(context, id, deadline, kLookEvery, look);
    if (!task.ok()) context.Error(ids.size() == 1 ? task.status() : Annotate(task.status(), id));
    codes.push_back(task.ok() ? ReportOutcome(context, *task) : ExitCodeOf(task.status()));
    if (!task.ok()) continue;
    if (as_table) {
      table.Add(*task, task->task_id(), TaskCells(*task, context.Now()));
    } else {
      // As `task get` prints them, each when it is finished.
      RETURN_IF_ERROR(PrintMessage(context, *task, task->task_id(), nullptr));
    }
  }
  const bool any = std::any_of(codes.begin(), codes.end(), [](int code) { return code <= kExitFailed; });
  if (any && as_table) table.Finish();
  return CombineExitCodes(codes);
}

struct BytesOptions {
  std::string id;
  std::string out;
  bool wait = false;
};

absl::StatusOr<int> PrintResult(CommandContext& context, const BytesOptions& options) {
  v1::Task task;
  if (options.wait) {
    ASSIGN_OR_RETURN(task, WaitUntilFinished(context, options.id, context.WaitDeadline()));
  } else {
    ASSIGN_OR_RETURN(task, GetTask(context, options.id, false));
  }
  switch (task.state()) {
    case v1::TASK_STATE_COMPLETED:
      break;
    case v1::TASK_STATE_DEAD:
    case v1::TASK_STATE_CANCELLED:
      return ReportOutcome(context, task);
    default:
      return absl::FailedPreconditionError(
          fmt::format("task {} is {}: it has no result yet; --wait waits for it", options.id, StateWord(task.state())));
  }
  if (!options.out.empty() || context.globals.format == Format::kTable) {
    RETURN_IF_ERROR(PrintBytes(context, task.result(), "result", task.result_content_type(), options.out));
  } else {
    RETURN_IF_ERROR(PrintMessage(context, task, task.task_id(), nullptr));
  }
  return kExitOk;
}

absl::StatusOr<int> PrintPayload(CommandContext& context, const BytesOptions& options) {
  ASSIGN_OR_RETURN(const v1::Task task, GetTask(context, options.id, true));
  if (task.state() == v1::TASK_STATE_COMPLETED || task.state() == v1::TASK_STATE_CANCELLED) {
    return absl::FailedPreconditionError(
        fmt::format("task {} is {}: its payload is no longer kept", options.id, StateWord(task.state())));
  }
  if (!options.out.empty() || context.globals.format == Format::kTable) {
    RETURN_IF_ERROR(PrintBytes(context, task.spec().payload(), "payload", task.spec().content_type(), options.out));
  } else {
    RETURN_IF_ERROR(PrintMessage(context, task, task.task_id(), nullptr));
  }
  return kExitOk;
}

absl::StatusOr<int> PrintCheckpoint(CommandContext& context, const BytesOptions& options) {
  ASSIGN_OR_RETURN(const v1::Task task, GetTask(context, options.id, true));
  if (task.state() == v1::TASK_STATE_COMPLETED || task.state() == v1::TASK_STATE_CANCELLED) {
    return absl::FailedPreconditionError(
        fmt::format("task {} is {}: what its handler saved is no longer kept", options.id, StateWord(task.state())));
  }
  if (task.checkpoint().empty())
    return absl::NotFoundError(fmt::format("the handler of task {} has saved nothing", options.id));
  if (!options.out.empty() || context.globals.format == Format::kTable) {
    RETURN_IF_ERROR(PrintBytes(context, task.checkpoint(), "checkpoint", "", options.out));
  } else {
    RETURN_IF_ERROR(PrintMessage(context, task, task.task_id(), nullptr));
  }
  return kExitOk;
}

// Prints what a task's handlers log, on standard output, and what becomes of the task, on standard error.
class Tail {
 public:
  Tail(CommandContext& context, std::string id) : context_(context), id_(std::move(id)) {}

  absl::StatusOr<int> Follow() {
    ASSIGN_OR_RETURN(broker_, context_.Broker());
    ASSIGN_OR_RETURN(const v1::Task task, WaitUntilFinished(context_, id_, context_.WaitDeadline(), kTailEvery,
                                                            [this](const v1::Task& now) { return Look(now); }));
    return ReportOutcome(context_, task);
  }

 private:
  absl::Status Look(const v1::Task& task) {
    absl::Status lines = PrintLines();
    // The broker is on its way out: the next wait tells, and the lines come later.
    if (!lines.ok() && ExitCodeOf(lines) != kExitUnavailable) return lines;
    std::string state = StateWord(task.state());
    if (task.state() == v1::TASK_STATE_RUNNING)
      state += fmt::format(", attempt {} on {}", task.attempt(), Printable(task.worker()));
    if (!task.waiting_reason().empty()) state += ": " + Printable(task.waiting_reason());
    if (task.has_progress()) state += ", " + ProgressText(task.progress());
    if (state != std::exchange(state_, state)) context_.Note(fmt::format("-- task {} {}", id_, state));
    return absl::OkStatus();
  }

  absl::Status PrintLines() {
    v1::ListTaskLogLinesRequest request;
    request.set_task_id(id_);
    request.set_after_position(position_);
    ASSIGN_OR_RETURN(const v1::ListTaskLogLinesResponse response, broker_->Call(&TaskStub::ListTaskLogLines, request));
    for (const v1::LogLine& line : response.lines()) PrintLine(line);
    context_.console.out.flush();
    position_ = std::max(position_, response.last_position());
    if (response.truncated() && !std::exchange(truncated_, true)) {
      context_.Note("-- lines are missing: the task logged more than is kept (64 KiB)");
    }
    return absl::OkStatus();
  }

  void PrintLine(const v1::LogLine& line) {
    std::ostream& out = context_.console.out;
    switch (context_.globals.format) {
      case Format::kTable:
        fmt::print(out, "{}  {}\n", absl::FormatTime("%H:%M:%E3S", ToTime(line.time()), absl::LocalTimeZone()),
                   context_.console.out_is_terminal ? Printable(line.text(), true) : line.text());
        break;
      case Format::kYaml:
        if (std::exchange(context_.yaml_begun, true)) out << "---\n";
        out << ToYaml(line);
        break;
      // What follows has no end that a single JSON value could wait for.
      case Format::kJson:
      case Format::kJsonl:
        out << ToJson(line, false) << "\n";
        break;
      case Format::kName:
        break;
    }
  }

  CommandContext& context_;
  const std::string id_;
  Connection* broker_ = nullptr;
  uint64_t position_ = 0;
  bool truncated_ = false;
  std::string state_;
};

std::shared_ptr<BytesOptions> AddBytesOptions(CLI::App& command) {
  auto options = std::make_shared<BytesOptions>();
  AddText(command, "TASK", &options->id, "TASK", "Its id")->required();
  AddText(command, "--out", &options->out, "FILE", "Write it there instead of to standard output");
  return options;
}

void AddListCommand(CLI::App& group, Action* action) {
  auto options = std::make_shared<TaskListOptions>();
  CLI::App& list =
      AddCommand(group, "list", "Tasks of a queue, or of all",
                 "penstock task list --queue mail --state running\n"
                 "penstock task list --queue mail --state dead,retryable --error timeout --created-after 2h\n"
                 "penstock task list --queue mail --where 'payload.customer == 42 && payload.plan != \"free\"'\n"
                 "penstock task list --queue mail --state retryable --limit 0 -o name | xargs penstock task retry");
  AddStateOption(list, &options->filter,
                 {v1::TASK_STATE_SCHEDULED, v1::TASK_STATE_AVAILABLE, v1::TASK_STATE_RUNNING, v1::TASK_STATE_RETRYABLE,
                  v1::TASK_STATE_COMPLETED, v1::TASK_STATE_CANCELLED, v1::TASK_STATE_DEAD});
  AddTaskFilterOptions(list, &options->filter);
  AddPageOptions(list, &options->page);
  list.callback([options, action] {
    *action = [options](CommandContext& context) { return ListTasks(context, *options, "tasks"); };
  });
}

}  // namespace

void AddTaskCommands(CLI::App& root, Action* action) {
  CLI::App& group = AddCommand(root, "task", "Tasks: see, find, cancel, retry, wait for, result, log lines, payload",
                               "penstock task get 0000000004000\n"
                               "penstock task list --queue mail --state running\n"
                               "penstock task tail 0000000004000");
  group.require_subcommand(1);

  auto got = std::make_shared<GetOptions>();
  CLI::App& get = AddCommand(group, "get", "A task's whole story: state, times, every attempt with its error",
                             "penstock task get 0000000004000\npenstock task get 0000000004000 -o json | jq .attempts");
  AddNames(get, "TASK", &got->ids, "One or more ids");
  get.add_flag("--payload", got->payload, "With the payload and what its handler saved, as long as they are kept");
  get.callback([got, action] { *action = [got](CommandContext& context) { return ShowTasks(context, *got); }; });

  AddListCommand(group, action);

  auto cancelled = std::make_shared<CancelOptions>();
  CLI::App& cancel = AddCommand(group, "cancel", "Cancels tasks that wait, asks running ones to stop",
                                "penstock task cancel 0000000004000 --reason \"wrong address\"");
  AddNames(cancel, "TASK", &cancelled->ids, "One or more ids");
  AddText(cancel, "--reason", &cancelled->reason, "TEXT", "Kept with the task");
  cancel.callback([cancelled, action] {
    *action = [cancelled](CommandContext& context) { return CancelTasks(context, *cancelled); };
  });

  auto retried = std::make_shared<std::vector<std::string>>();
  CLI::App& retry = AddCommand(group, "retry", "Runs scheduled or retryable tasks now, redrives dead ones",
                               "penstock task retry 0000000004000");
  AddNames(retry, "TASK", retried.get(), "One or more ids");
  retry.callback(
      [retried, action] { *action = [retried](CommandContext& context) { return RetryTasks(context, *retried); }; });

  AddTaskChangeCommands(group, action);

  auto awaited = std::make_shared<std::vector<std::string>>();
  CLI::App& wait =
      AddCommand(group, "wait",
                 "Waits until tasks are finished; exit code 0: completed, 1: dead or cancelled, 5: --timeout passed",
                 "penstock task wait 0000000004000 --timeout 5m");
  AddNames(wait, "TASK", awaited.get(), "One or more ids");
  wait.callback(
      [awaited, action] { *action = [awaited](CommandContext& context) { return WaitForTasks(context, *awaited); }; });

  CLI::App& result =
      AddCommand(group, "result", "What a completed task's handler returned",
                 "penstock task result 0000000004000 --out report.html\npenstock task result 0000000004000 --wait");
  auto result_options = AddBytesOptions(result);
  result.add_flag("--wait", result_options->wait, "Wait until it is finished, at most --timeout");
  result.callback([result_options, action] {
    *action = [result_options](CommandContext& context) { return PrintResult(context, *result_options); };
  });

  auto tailed = std::make_shared<std::string>();
  CLI::App& tail = AddCommand(group, "tail", "Follows a task's log lines and state until it is finished",
                              "penstock task tail 0000000004000");
  AddText(tail, "TASK", tailed.get(), "TASK", "Its id")->required();
  tail.callback(
      [tailed, action] { *action = [tailed](CommandContext& context) { return Tail(context, *tailed).Follow(); }; });

  CLI::App& payload = AddCommand(group, "payload", "What a task's handler gets",
                                 "penstock task payload 0000000004000 --out payload.json");
  auto payload_options = AddBytesOptions(payload);
  payload.callback([payload_options, action] {
    *action = [payload_options](CommandContext& context) { return PrintPayload(context, *payload_options); };
  });

  CLI::App& checkpoint = AddCommand(group, "checkpoint", "What a task's handler saved for its next attempt",
                                    "penstock task checkpoint 0000000004000");
  auto checkpoint_options = AddBytesOptions(checkpoint);
  checkpoint.callback([checkpoint_options, action] {
    *action = [checkpoint_options](CommandContext& context) { return PrintCheckpoint(context, *checkpoint_options); };
  });
}

}  // namespace penstock::cli
