#include <algorithm>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/bulk_run.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/task_filter_options.h"
#include "client/cli/task_lists.h"
#include "client/cli/task_view.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

// As many as the broker takes in one call.
constexpr int kCallMax = 10'000;

absl::StatusOr<int> ShowDead(CommandContext& context, const std::vector<std::string>& ids) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  bool first = true;
  return context.ForEach(ids, [&](const std::string& id) -> absl::Status {
    v1::GetTaskRequest request;
    request.set_task_id(id);
    request.set_include_payload(true);
    ASSIGN_OR_RETURN(const v1::GetTaskResponse response, broker->Call(&TaskStub::GetTask, request));
    if (response.task().state() != v1::TASK_STATE_DEAD) {
      return absl::FailedPreconditionError(fmt::format("task {} is not dead, it is {}; see penstock task get {}", id,
                                                       StateWord(response.task().state()), id));
    }
    if (!std::exchange(first, false) && context.globals.format == Format::kTable) context.console.out << "\n";
    return PrintMessage(context, response.task(), id, [&] { return RenderTask(context, response.task()); });
  });
}

// Which dead tasks of a queue.
struct Choice {
  std::vector<std::string> ids;
  TaskFilterOptions filter;
  std::optional<Rate> rate;
  bool all = false;
  std::optional<int> limit;
  bool yes = false;
};

void AddChoiceOptions(CLI::App& command, Choice* out) {
  AddTaskFilterOptions(command, &out->filter);
  command.add_flag("--all", out->all, "All of them");
  AddNumber(command, "--limit", &out->limit, 1, 1'000'000'000, "At most this many");
}

absl::Status CheckQueueChoice(const Choice& choice) {
  if (choice.filter.queue.empty()) return absl::InvalidArgumentError("say which tasks: --queue QUEUE");
  if (choice.all == choice.limit.has_value()) return absl::InvalidArgumentError("say how many: --all or --limit N");
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> CountDead(Connection& broker, const std::string& queue) {
  v1::GetQueueRequest request;
  request.set_name(queue);
  ASSIGN_OR_RETURN(const v1::GetQueueResponse response, broker.Call(&AdminStub::GetQueue, request));
  return response.queue().stats().dead();
}

// What calls for some of a queue's dead tasks did.
struct Done {
  uint64_t tasks = 0;
  uint64_t remaining = 0;
  bool exhausted = false;
};

// Makes calls for at most kCallMax tasks each until as many are done as were chosen. Tasks that die meanwhile are not
// chosen: it ends.
absl::StatusOr<Done> Repeat(const Choice& choice, uint64_t dead,
                            const std::function<absl::StatusOr<Done>(int limit)>& call) {
  uint64_t left = choice.limit ? std::min(dead, static_cast<uint64_t>(*choice.limit)) : dead;
  Done sum{.tasks = 0, .remaining = dead, .exhausted = dead == 0};
  while (left > 0 && !sum.exhausted && sum.remaining > 0) {
    ASSIGN_OR_RETURN(const Done done, call(static_cast<int>(std::min<uint64_t>(left, kCallMax))));
    left -= std::min(left, done.tasks);
    sum = {.tasks = sum.tasks + done.tasks, .remaining = done.remaining, .exhausted = done.exhausted};
  }
  return sum;
}

template <class Request>
Request MakeRequest(const Choice& choice, int limit) {
  Request request;
  request.set_queue(choice.filter.queue);
  request.set_type(choice.filter.type);
  request.set_limit(limit);
  return request;
}

// More than a queue and a type, or a rate, is a job for the broker.
bool NeedsJob(const Choice& choice) { return IsDetailed(choice.filter) || choice.rate; }

v1::BulkJobSpec MakeJob(CommandContext& context, const Choice& choice, v1::BulkAction action) {
  v1::BulkJobSpec spec;
  spec.set_action(action);
  *spec.mutable_filter() = MakeFilter(choice.filter, choice.filter.queue, context.Now());
  spec.mutable_filter()->add_states(v1::TASK_STATE_DEAD);
  if (choice.rate) spec.set_rate(choice.rate->tasks / absl::ToDoubleSeconds(choice.rate->period));
  spec.set_limit(static_cast<uint64_t>(choice.limit.value_or(0)));
  return spec;
}

absl::StatusOr<int> RedriveQueue(CommandContext& context, const Choice& choice) {
  RETURN_IF_ERROR(CheckQueueChoice(choice));
  if (NeedsJob(choice)) {
    return RunBulkJob(context, MakeJob(context, choice, v1::BULK_ACTION_RETRY), /*detach=*/false);
  }
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const uint64_t dead, CountDead(*broker, choice.filter.queue));
  ASSIGN_OR_RETURN(const Done done, Repeat(choice, dead, [&](int limit) -> absl::StatusOr<Done> {
                     ASSIGN_OR_RETURN(const auto response,
                                      broker->Call(&AdminStub::RedriveDeadTasks,
                                                   MakeRequest<v1::RedriveDeadTasksRequest>(choice, limit)));
                     return Done{response.redriven(), response.remaining(), response.exhausted()};
                   }));
  v1::RedriveDeadTasksResponse sum;
  sum.set_redriven(done.tasks);
  sum.set_remaining(done.remaining);
  sum.set_exhausted(done.exhausted);
  RETURN_IF_ERROR(PrintMessage(context, sum, choice.filter.queue, [&] {
    return fmt::format("queue {}: {} redriven, {} left\n", choice.filter.queue, CountOf(done.tasks, "dead task"),
                       FormatCount(done.remaining));
  }));
  return kExitOk;
}

absl::StatusOr<int> RedriveTasks(CommandContext& context, const std::vector<std::string>& ids) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(ids, [&](const std::string& id) -> absl::Status {
    v1::GetTaskRequest get;
    get.set_task_id(id);
    ASSIGN_OR_RETURN(const v1::GetTaskResponse got, broker->Call(&TaskStub::GetTask, get));
    if (got.task().state() != v1::TASK_STATE_DEAD) {
      return absl::FailedPreconditionError(
          fmt::format("task {} is not dead, it is {}", id, StateWord(got.task().state())));
    }
    v1::RetryTaskRequest request;
    request.set_task_id(id);
    ASSIGN_OR_RETURN(const v1::RetryTaskResponse response, broker->Call(&TaskStub::RetryTask, request));
    return PrintMessage(context, response, id, [&] { return fmt::format("task {} is available again\n", id); });
  });
}

absl::StatusOr<int> Redrive(CommandContext& context, const Choice& choice) {
  if (choice.ids.empty()) return RedriveQueue(context, choice);
  if (!choice.filter.queue.empty() || !choice.filter.type.empty() || IsDetailed(choice.filter) || choice.rate ||
      choice.all || choice.limit) {
    return absl::InvalidArgumentError("say task ids, or --queue with what goes with it, not both");
  }
  return RedriveTasks(context, choice.ids);
}

absl::StatusOr<int> PurgeDead(CommandContext& context, const Choice& choice) {
  RETURN_IF_ERROR(CheckQueueChoice(choice));
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const uint64_t dead, CountDead(*broker, choice.filter.queue));
  const std::string which =
      choice.limit ? fmt::format("at most {} of ", FormatCount(static_cast<uint64_t>(*choice.limit))) : "";
  std::string what = choice.filter.type.empty() ? "" : fmt::format(", those of type {}", choice.filter.type);
  const v1::BulkJobSpec job = MakeJob(context, choice, v1::BULK_ACTION_DELETE);
  if (NeedsJob(choice)) what = fmt::format(", those that are {}", Describe(job.filter()));
  RETURN_IF_ERROR(context.Confirm(
      choice.yes,
      fmt::format("This deletes {}{} of queue {}{}.", which, CountOf(dead, "dead task"), choice.filter.queue, what),
      choice.filter.queue));
  if (NeedsJob(choice)) return RunBulkJob(context, job, /*detach=*/false);
  ASSIGN_OR_RETURN(const Done done, Repeat(choice, dead, [&](int limit) -> absl::StatusOr<Done> {
                     ASSIGN_OR_RETURN(const auto response,
                                      broker->Call(&AdminStub::PurgeDeadTasks,
                                                   MakeRequest<v1::PurgeDeadTasksRequest>(choice, limit)));
                     return Done{response.purged(), response.remaining(), response.exhausted()};
                   }));
  v1::PurgeDeadTasksResponse sum;
  sum.set_purged(done.tasks);
  sum.set_remaining(done.remaining);
  sum.set_exhausted(done.exhausted);
  RETURN_IF_ERROR(PrintMessage(context, sum, choice.filter.queue, [&] {
    return fmt::format("queue {}: {} deleted, {} left\n", choice.filter.queue, CountOf(done.tasks, "dead task"),
                       FormatCount(done.remaining));
  }));
  return kExitOk;
}

}  // namespace

void AddDeadCommands(CLI::App& root, Action* action) {
  CLI::App& group = AddCommand(root, "dead", "Dead tasks: see why, redrive, purge",
                               "penstock dead list\n"
                               "penstock dead show 0000000004000\n"
                               "penstock dead redrive --queue mail --all");
  group.require_subcommand(1);

  auto listed = std::make_shared<TaskListOptions>();
  listed->filter.states = {v1::TASK_STATE_DEAD};
  CLI::App& list = AddCommand(group, "list", "Dead tasks of a queue, or of all",
                              "penstock dead list\npenstock dead list --queue mail --type mail.send");
  AddTaskFilterOptions(list, &listed->filter);
  AddPageOptions(list, &listed->page);
  list.callback([listed, action] {
    *action = [listed](CommandContext& context) { return ListTasks(context, *listed, "dead tasks"); };
  });

  auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App& show = AddCommand(group, "show", "Why tasks are dead: every attempt with its error, and the payload",
                              "penstock dead show 0000000004000");
  AddNames(show, "TASK", ids.get(), "One or more ids");
  show.callback([ids, action] { *action = [ids](CommandContext& context) { return ShowDead(context, *ids); }; });

  auto redriven = std::make_shared<Choice>();
  CLI::App& redrive = AddCommand(group, "redrive", "Makes dead tasks available again, their attempts counted from 0",
                                 "penstock dead redrive 0000000004000\n"
                                 "penstock dead redrive --queue mail --limit 1        try one first\n"
                                 "penstock dead redrive --queue mail --type mail.send --all\n"
                                 "penstock dead redrive --queue mail --error timeout --all --rate 100/s");
  redrive.add_option("TASK", redriven->ids, "Ids, instead of --queue")->type_name("TASK");
  AddChoiceOptions(redrive, redriven.get());
  AddRate(redrive, "--rate", &redriven->rate, "So many in a time, for instance 100/s, by a job of the broker");
  redrive.callback(
      [redriven, action] { *action = [redriven](CommandContext& context) { return Redrive(context, *redriven); }; });

  auto purged = std::make_shared<Choice>();
  CLI::App& purge =
      AddCommand(group, "purge", "Deletes dead tasks for ever", "penstock dead purge --queue mail --all --yes");
  AddChoiceOptions(purge, purged.get());
  purge.add_flag("--yes", purged->yes, "Do not ask for the queue's name");
  purge.callback(
      [purged, action] { *action = [purged](CommandContext& context) { return PurgeDead(context, *purged); }; });
}

}  // namespace penstock::cli
