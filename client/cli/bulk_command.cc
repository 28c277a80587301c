#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/bulk_run.h"
#include "client/cli/bulk_view.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/task_filter_options.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

struct BulkOptions {
  TaskFilterOptions filter;
  std::optional<Rate> rate;
  std::optional<int> limit;
  std::string reason;
  bool dry_run = false;
  bool wait = false;
  bool detach = false;
  bool yes = false;
};

// "cancels".
std::string_view Does(v1::BulkAction action) {
  switch (action) {
    case v1::BULK_ACTION_CANCEL:
      return "cancels";
    case v1::BULK_ACTION_RETRY:
      return "retries";
    default:
      return "deletes";
  }
}

absl::StatusOr<int> RunBulk(CommandContext& context, v1::BulkAction action, const BulkOptions& options) {
  if (options.wait && options.detach) return absl::InvalidArgumentError("say --wait or --detach, not both");
  v1::BulkJobSpec spec;
  spec.set_action(action);
  *spec.mutable_filter() = MakeFilter(options.filter, options.filter.queue, context.Now());
  if (options.rate) spec.set_rate(options.rate->tasks / absl::ToDoubleSeconds(options.rate->period));
  spec.set_limit(static_cast<uint64_t>(options.limit.value_or(0)));
  spec.set_reason(options.reason);
  spec.set_dry_run(options.dry_run);
  // A retry can be undone by a cancel; these cannot.
  if (!options.dry_run && action != v1::BULK_ACTION_RETRY) {
    const std::string most = options.limit ? fmt::format("at most {} ", *options.limit) : "";
    RETURN_IF_ERROR(context.Confirm(options.yes,
                                    fmt::format("This {} {}tasks of queue {}: {}.", Does(action), most,
                                                options.filter.queue, Describe(spec.filter())),
                                    options.filter.queue));
  }
  return RunBulkJob(context, spec, options.detach);
}

void AddBulkAction(CLI::App& group, v1::BulkAction action, const std::string& verb, const std::string& help,
                   const std::vector<v1::TaskState>& states, const std::string& examples, Action* done) {
  auto options = std::make_shared<BulkOptions>();
  CLI::App& command = AddCommand(group, verb, help, examples);
  AddStateOption(command, &options->filter, states);
  AddTaskFilterOptions(command, &options->filter);
  command.get_option("--queue")->required();
  AddRate(command, "--rate", &options->rate, "So many in a time, for instance 100/s [as fast as other work allows]");
  AddNumber(command, "--limit", &options->limit, 1, 1'000'000'000, "At most this many [all]");
  if (action == v1::BULK_ACTION_CANCEL) {
    AddText(command, "--reason", &options->reason, "TEXT", "Kept with the tasks");
  }
  command.add_flag("--dry-run", options->dry_run, "Only count what fits");
  command.add_flag("--wait", options->wait, "Show how far it is until it has ended; the default");
  command.add_flag("--detach", options->detach, "Print the job's id and leave it to the broker");
  if (action != v1::BULK_ACTION_RETRY) command.add_flag("--yes", options->yes, "Do not ask for the queue's name");
  command.callback([action, options, done] {
    *done = [action, options](CommandContext& context) { return RunBulk(context, action, *options); };
  });
}

absl::StatusOr<int> ListJobs(CommandContext& context) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::ListBulkJobsResponse response,
                   broker->Call(&BulkStub::ListBulkJobs, v1::ListBulkJobsRequest()));
  ListPrinter list(context, "bulk jobs", BulkJobColumns());
  for (const v1::BulkJob& job : response.jobs()) list.Add(job, job.job_id(), BulkJobCells(job, context.Now()));
  list.Finish();
  return kExitOk;
}

absl::StatusOr<int> GetJobs(CommandContext& context, const std::vector<std::string>& ids) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  bool first = true;
  return context.ForEach(ids, [&](const std::string& id) -> absl::Status {
    v1::GetBulkJobRequest request;
    request.set_job_id(id);
    ASSIGN_OR_RETURN(const v1::GetBulkJobResponse response, broker->Call(&BulkStub::GetBulkJob, request));
    if (!std::exchange(first, false) && context.globals.format == Format::kTable) context.console.out << "\n";
    return PrintMessage(context, response.job(), id, [&] { return RenderBulkJob(context, response.job()); });
  });
}

absl::StatusOr<int> StopJobs(CommandContext& context, const std::vector<std::string>& ids) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(ids, [&](const std::string& id) -> absl::Status {
    v1::StopBulkJobRequest request;
    request.set_job_id(id);
    ASSIGN_OR_RETURN(const v1::StopBulkJobResponse response, broker->Call(&BulkStub::StopBulkJob, request));
    return PrintMessage(context, response.job(), id, [&] {
      return fmt::format("{} {}: {}\n", id, BulkStateWord(response.job().state()), BulkCounts(response.job()));
    });
  });
}

}  // namespace

void AddBulkCommands(CLI::App& root, Action* action) {
  CLI::App& group = AddCommand(root, "bulk", "Cancel, retry or delete all tasks that fit, as a job of the broker",
                               "penstock bulk cancel --queue mail --where 'payload.customer == 42' --dry-run\n"
                               "penstock bulk retry --queue mail --state dead --error timeout --rate 100/s\n"
                               "penstock bulk list");
  group.require_subcommand(1);

  AddBulkAction(group, v1::BULK_ACTION_CANCEL, "cancel", "Cancels tasks that wait, asks running ones to stop",
                {v1::TASK_STATE_SCHEDULED, v1::TASK_STATE_AVAILABLE, v1::TASK_STATE_RUNNING, v1::TASK_STATE_RETRYABLE},
                "penstock bulk cancel --queue mail --where 'payload.customer == 42' --dry-run\n"
                "penstock bulk cancel --queue mail --where 'payload.customer == 42' --reason \"has left\" --yes",
                action);
  AddBulkAction(group, v1::BULK_ACTION_RETRY, "retry", "Runs scheduled and retryable tasks now, redrives dead ones",
                {v1::TASK_STATE_SCHEDULED, v1::TASK_STATE_RETRYABLE, v1::TASK_STATE_DEAD},
                "penstock bulk retry --queue mail --state dead --error timeout --rate 100/s\n"
                "penstock bulk retry --queue mail --state retryable --limit 10",
                action);
  AddBulkAction(group, v1::BULK_ACTION_DELETE, "delete", "Deletes tasks that wait, are dead or are cancelled",
                {v1::TASK_STATE_SCHEDULED, v1::TASK_STATE_AVAILABLE, v1::TASK_STATE_RETRYABLE, v1::TASK_STATE_DEAD,
                 v1::TASK_STATE_CANCELLED},
                "penstock bulk delete --queue mail --state dead --created-before 7d --detach --yes", action);

  CLI::App& list = AddCommand(group, "list", "Jobs that run, and those that ended in the last 24 h, the newest first",
                              "penstock bulk list");
  list.callback([action] { *action = ListJobs; });

  const auto add_named = [&](const std::string& verb, const std::string& help, const std::string& example, auto run) {
    auto ids = std::make_shared<std::vector<std::string>>();
    CLI::App& command = AddCommand(group, verb, help, example);
    AddNames(command, "JOB", ids.get(), "One or more ids");
    command.callback([ids, action, run] {
      *action = [ids, run](CommandContext& context) -> absl::StatusOr<int> { return run(context, *ids); };
    });
  };
  add_named("get", "What a job is for, and how far it is", "penstock bulk get b00063f4e1a2b3c", GetJobs);
  add_named("wait", "Waits until jobs have ended; exit code 0: all are done", "penstock bulk wait b00063f4e1a2b3c",
            [](CommandContext& context, const std::vector<std::string>& ids) -> absl::StatusOr<int> {
              std::vector<int> codes;
              for (const std::string& id : ids) {
                const absl::StatusOr<int> code = WaitForBulkJob(context, id);
                if (!code.ok()) context.Error(ids.size() == 1 ? code.status() : Annotate(code.status(), id));
                codes.push_back(code.ok() ? *code : ExitCodeOf(code.status()));
              }
              return CombineExitCodes(codes);
            });
  add_named("stop", "Ends jobs where they are; what they did stays done", "penstock bulk stop b00063f4e1a2b3c",
            StopJobs);
}

}  // namespace penstock::cli
