#include <map>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/estimate_text.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/pages.h"
#include "client/cli/proto_time.h"
#include "client/cli/queue_watch.h"
#include "client/cli/retry_options.h"
#include "client/cli/status_screen.h"
#include "client/cli/table.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

struct SettingOptions {
  std::string queue;
  v1::Durability durability = v1::DURABILITY_UNSPECIFIED;
  RetryOptions retry;
  std::optional<absl::Duration> result_retention;
  std::optional<absl::Duration> dead_retention;
  std::optional<absl::Duration> cancelled_retention;
  std::optional<absl::Duration> run_timeout;
  v1::DeadKeyPolicy dead_key_policy = v1::DEAD_KEY_POLICY_UNSPECIFIED;
  std::vector<std::string> group_weights;
  std::optional<uint64_t> max_waiting;
  std::optional<uint64_t> max_waiting_bytes;
  v1::OverflowPolicy overflow_policy = v1::OVERFLOW_POLICY_UNSPECIFIED;
};

void AddSettingOptions(CLI::App& command, SettingOptions* out) {
  AddText(command, "QUEUE", &out->queue, "QUEUE", "Its name")->required();
  AddChoice<v1::Durability>(
      command, "--durability", &out->durability, {{"sync", v1::DURABILITY_SYNC}, {"relaxed", v1::DURABILITY_RELAXED}},
      "When an enqueue is acknowledged. sync: when it survives a power cut; relaxed: when it survives a "
      "crash of the broker, and a power cut may lose the last 100 ms");
  AddRetryOptions(command, RetryOf::kQueue, &out->retry);
  AddDuration(command, "--result-retention", &out->result_retention, "How long completed tasks are kept");
  AddDuration(command, "--dead-retention", &out->dead_retention, "How long dead tasks are kept");
  AddDuration(command, "--cancelled-retention", &out->cancelled_retention,
              "How long cancelled tasks are kept, if not as long as completed ones");
  AddDuration(command, "--run-timeout", &out->run_timeout, "Longest run of an attempt");
  AddChoice<v1::DeadKeyPolicy>(
      command, "--dead-key-policy", &out->dead_key_policy,
      {{"release", v1::DEAD_KEY_POLICY_RELEASE}, {"block", v1::DEAD_KEY_POLICY_BLOCK}},
      "What becomes of a FIFO key when the task that holds it is dead: the next task runs, or the key waits until the "
      "dead task is redriven or deleted, or the key released");
  AddCount(command, "--max-waiting", &out->max_waiting,
           "How many tasks may wait, scheduled and retryable ones included; 0: no limit");
  AddCount(command, "--max-waiting-bytes", &out->max_waiting_bytes,
           "How many bytes of tasks may wait; 0: no limit. Where more than 10,000 tasks wait when it is set, those do "
           "not count");
  AddChoice<v1::OverflowPolicy>(
      command, "--overflow-policy", &out->overflow_policy,
      {{"reject", v1::OVERFLOW_POLICY_REJECT}, {"drop-oldest", v1::OVERFLOW_POLICY_DROP_OLDEST}},
      "What becomes of an enqueue to a full queue: it is refused, or the tasks that have waited longest are dead");
  AddTexts(command, "--group-weight", &out->group_weights, "GROUP=WEIGHT",
           "What a group gets of the queue's worker time, against 1 of the others; may be repeated")
      ->check([](const std::string& text) {
        const size_t equals = text.rfind('=');
        double weight = 0;
        if (equals == std::string::npos || equals == 0 || !absl::SimpleAtod(text.substr(equals + 1), &weight)) {
          return "'" + text + "' is not GROUP=WEIGHT";
        }
        return weight >= 0.001 && weight <= 1'000 ? std::string() : "a weight is 0.001 to 1000, not " + text;
      });
}

// Sets what was given, on top of what `settings` says.
void Fill(const SettingOptions& options, v1::QueueSettings* settings) {
  if (options.durability != v1::DURABILITY_UNSPECIFIED) settings->set_durability(options.durability);
  if (options.retry.Any()) Apply(options.retry, settings->mutable_retry_policy());
  if (options.result_retention) Set(*options.result_retention, settings->mutable_result_retention());
  if (options.dead_retention) Set(*options.dead_retention, settings->mutable_dead_retention());
  if (options.cancelled_retention) Set(*options.cancelled_retention, settings->mutable_cancelled_retention());
  if (options.run_timeout) Set(*options.run_timeout, settings->mutable_run_timeout());
  if (options.dead_key_policy != v1::DEAD_KEY_POLICY_UNSPECIFIED) {
    settings->set_dead_key_policy(options.dead_key_policy);
  }
  for (const std::string& text : options.group_weights) {
    const size_t equals = text.rfind('=');
    double weight = 1;
    (void)absl::SimpleAtod(text.substr(equals + 1), &weight);  // checked when it was read
    (*settings->mutable_group_weights())[text.substr(0, equals)] = weight;
  }
  if (options.max_waiting) settings->set_max_waiting(*options.max_waiting);
  if (options.max_waiting_bytes) settings->set_max_waiting_bytes(*options.max_waiting_bytes);
  if (options.overflow_policy != v1::OVERFLOW_POLICY_UNSPECIFIED) {
    settings->set_overflow_policy(options.overflow_policy);
  }
}

// What was given, by name: a limit of 0 is a change, too.
void FillMask(const SettingOptions& options, google::protobuf::FieldMask* mask) {
  const auto add = [&](bool given, std::string_view name) {
    if (given) mask->add_paths(fmt::format("settings.{}", name));
  };
  add(options.durability != v1::DURABILITY_UNSPECIFIED, "durability");
  add(options.retry.Any(), "retry_policy");
  add(options.result_retention.has_value(), "result_retention");
  add(options.dead_retention.has_value(), "dead_retention");
  add(options.run_timeout.has_value(), "run_timeout");
  add(options.dead_key_policy != v1::DEAD_KEY_POLICY_UNSPECIFIED, "dead_key_policy");
  add(!options.group_weights.empty(), "group_weights");
  add(options.max_waiting.has_value(), "max_waiting");
  add(options.max_waiting_bytes.has_value(), "max_waiting_bytes");
  add(options.overflow_policy != v1::OVERFLOW_POLICY_UNSPECIFIED, "overflow_policy");
  add(options.cancelled_retention.has_value(), "cancelled_retention");
}

std::string LimitText(const v1::QueueSettings& settings, const v1::QueueStats& stats) {
  std::vector<std::string> parts;
  if (settings.max_waiting() != 0) parts.push_back(CountOf(settings.max_waiting(), "waiting task"));
  if (settings.max_waiting_bytes() != 0) {
    parts.push_back(fmt::format("{} waiting bytes, has {}", FormatCount(settings.max_waiting_bytes()),
                                FormatCount(stats.waiting_bytes())));
  }
  return fmt::format("{}; {}", absl::StrJoin(parts, " and "),
                     settings.overflow_policy() == v1::OVERFLOW_POLICY_DROP_OLDEST ? "when full, the oldest are dropped"
                                                                                   : "when full, enqueues are refused");
}

std::string WaitsOf(const v1::RetryPolicy& policy) {
  const std::string initial = penstock::FormatDuration(ToDuration(policy.initial_backoff()));
  switch (policy.backoff()) {
    case v1::BACKOFF_LINEAR:
      return initial + " x the attempts so far";
    case v1::BACKOFF_FIXED:
      return initial;
    default:
      return fmt::format("{} x {}", initial, policy.multiplier());
  }
}

std::string RenderQueue(CommandContext& context, const v1::Queue& queue) {
  const v1::QueueSettings& settings = queue.settings();
  const v1::QueueStats& stats = queue.stats();
  const v1::RetryPolicy& policy = settings.retry_policy();
  std::string text;
  const auto fact = [&](std::string_view label, const std::string& value) {
    text += fmt::format("{:<11} {}\n", label, value);
  };
  fact("queue", Paint(queue.name(), Style::kBold, context.Color()));
  const std::string flags = FlagsOf(queue);
  fact("state", flags.empty() ? "open" : Paint(flags, Style::kYellow, context.Color()));
  fact("created", RelativeAndExact(ToTime(queue.create_time()), context.Now()));
  fact("tasks", fmt::format("{} available, {} scheduled, {} running, {} retryable, {} dead",
                            FormatCount(stats.available()), FormatCount(stats.scheduled()),
                            FormatCount(stats.running()), FormatCount(stats.retryable()), FormatCount(stats.dead())));
  if (stats.available() > 0) fact("oldest", penstock::FormatDuration(ToDuration(stats.oldest_age())));
  if (stats.has_drained_in()) fact("drained", "in " + EstimateText(stats.drained_in()));
  fact("rates", fmt::format("{}/s in, {}/s out", FormatRate(stats.enqueue_rate()), FormatRate(stats.finish_rate())));
  fact("ever", fmt::format("{} enqueued, {} completed, {} cancelled, {} dead, {} attempts failed",
                           FormatCount(stats.enqueued_total()), FormatCount(stats.completed_total()),
                           FormatCount(stats.cancelled_total()), FormatCount(stats.dead_total()),
                           FormatCount(stats.failed_total())));
  for (const std::string& type : stats.unhandled_types()) {
    fact("unhandled", Paint(Printable(type) + ": no connected worker handles it", Style::kYellow, context.Color()));
  }
  fact("durability", settings.durability() == v1::DURABILITY_RELAXED
                         ? "relaxed: a power cut may lose the last 100 ms"
                         : "sync: what is acknowledged survives a power cut");
  fact("attempts", fmt::format("{} in all; waits of {} up to {}, jitter {}", policy.max_attempts(), WaitsOf(policy),
                               penstock::FormatDuration(ToDuration(policy.max_backoff())), policy.jitter()));
  fact("run timeout", penstock::FormatDuration(ToDuration(settings.run_timeout())));
  if (settings.dead_key_policy() == v1::DEAD_KEY_POLICY_BLOCK) fact("dead keys", "block until redriven or released");
  if (!settings.group_weights().empty()) {
    const std::map<std::string, double> weights(settings.group_weights().begin(), settings.group_weights().end());
    std::vector<std::string> parts;
    for (const auto& [group, weight] : weights) parts.push_back(fmt::format("{} {}", Printable(group), weight));
    fact("weights", fmt::format("{}; others 1", absl::StrJoin(parts, ", ")));
  }
  if (settings.max_waiting() + settings.max_waiting_bytes() != 0) fact("limit", LimitText(settings, stats));
  fact("kept", fmt::format("completed {}, {}dead {}", penstock::FormatDuration(ToDuration(settings.result_retention())),
                           settings.has_cancelled_retention()
                               ? fmt::format("cancelled {}, ",
                                             penstock::FormatDuration(ToDuration(settings.cancelled_retention())))
                               : "",
                           penstock::FormatDuration(ToDuration(settings.dead_retention()))));
  return text;
}

absl::StatusOr<v1::Queue> GetQueue(CommandContext& context, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::GetQueueRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(v1::GetQueueResponse response, broker->Call(&AdminStub::GetQueue, request));
  return std::move(*response.mutable_queue());
}

absl::Status PrintQueue(CommandContext& context, const v1::Queue& queue) {
  return PrintMessage(context, queue, queue.name(), [&] { return RenderQueue(context, queue); });
}

absl::StatusOr<int> ListQueues(CommandContext& context, const PageOptions& page) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ListPrinter list(context, "queues",
                   {{.title = "NAME", .shrink_to = 12},
                    {.title = "AVAILABLE", .right = true},
                    {.title = "OLDEST", .right = true},
                    {.title = "RUNNING", .right = true},
                    {.title = "SCHEDULED", .right = true, .optional = 1},
                    {.title = "RETRYABLE", .right = true, .optional = 3},
                    {.title = "DEAD", .right = true},
                    {.title = "IN/S", .right = true, .optional = 2},
                    {.title = "OUT/S", .right = true, .optional = 2},
                    {.title = "STATE"}});
  const auto token = WalkPages<v1::ListQueuesResponse>(
      page,
      [&](int size, const std::string& from) {
        v1::ListQueuesRequest request;
        request.set_page_size(size);
        request.set_page_token(from);
        return broker->Call(&AdminStub::ListQueues, request);
      },
      [&](const v1::ListQueuesResponse& response) {
        for (const v1::Queue& queue : response.queues()) {
          const v1::QueueStats& stats = queue.stats();
          const std::string flags = FlagsOf(queue);
          list.Add(queue, queue.name(),
                   {Cell(queue.name(), Style::kBold), FormatCount(stats.available()),
                    stats.available() > 0 ? penstock::FormatDuration(ToDuration(stats.oldest_age())) : "-",
                    FormatCount(stats.running()), FormatCount(stats.scheduled()), FormatCount(stats.retryable()),
                    Cell(FormatCount(stats.dead()), stats.dead() > 0 ? Style::kRed : Style::kPlain),
                    FormatRate(stats.enqueue_rate()), FormatRate(stats.finish_rate()),
                    flags.empty() ? Cell("open") : Cell(flags, Style::kYellow)});
        }
        return response.queues_size();
      });
  if (!token.ok()) return token.status();
  list.Finish(*token);
  return kExitOk;
}

absl::StatusOr<int> CreateQueue(CommandContext& context, const SettingOptions& options) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::CreateQueueRequest request;
  request.mutable_queue()->set_name(options.queue);
  Fill(options, request.mutable_queue()->mutable_settings());
  ASSIGN_OR_RETURN(const v1::CreateQueueResponse response, broker->Call(&AdminStub::CreateQueue, request));
  RETURN_IF_ERROR(PrintQueue(context, response.queue()));
  return kExitOk;
}

absl::StatusOr<int> UpdateQueue(CommandContext& context, const SettingOptions& options) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::UpdateQueueRequest request;
  request.mutable_queue()->set_name(options.queue);
  v1::QueueSettings* settings = request.mutable_queue()->mutable_settings();
  if (options.retry.Any()) {
    // A retry policy is replaced as a whole, so what was not given comes from the queue.
    ASSIGN_OR_RETURN(v1::Queue queue, GetQueue(context, options.queue));
    settings->mutable_retry_policy()->Swap(queue.mutable_settings()->mutable_retry_policy());
  }
  Fill(options, settings);
  FillMask(options, request.mutable_update_mask());
  if (request.update_mask().paths().empty()) {
    return absl::InvalidArgumentError("nothing to change: say which setting, for instance --run-timeout 5m");
  }
  ASSIGN_OR_RETURN(const v1::UpdateQueueResponse response, broker->Call(&AdminStub::UpdateQueue, request));
  RETURN_IF_ERROR(PrintQueue(context, response.queue()));
  return kExitOk;
}

// Pause, resume and drain are alike: a name in, nothing out.
template <class Request, class Response>
absl::StatusOr<int> Steer(CommandContext& context, const std::vector<std::string>& queues,
                          grpc::Status (AdminStub::*method)(grpc::ClientContext*, const Request&, Response*),
                          std::string_view done) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(queues, [&](const std::string& queue) -> absl::Status {
    Request request;
    request.set_name(queue);
    ASSIGN_OR_RETURN(const Response response, broker->Call(method, request));
    return PrintMessage(context, response, queue, [&] { return fmt::format("queue {} {}\n", queue, done); });
  });
}

template <class Request, class Response>
void AddSteering(CLI::App& group, const std::string& verb, const std::string& help, std::string_view done,
                 grpc::Status (AdminStub::*method)(grpc::ClientContext*, const Request&, Response*), Action* action) {
  auto queues = std::make_shared<std::vector<std::string>>();
  CLI::App& command = AddCommand(group, verb, help, fmt::format("penstock queue {} mail", verb));
  AddNames(command, "QUEUE", queues.get(), "One or more queues");
  command.callback([queues, method, done, action] {
    *action = [queues, method, done](CommandContext& context) { return Steer(context, *queues, method, done); };
  });
}

struct RemoveOptions {
  std::string queue;
  bool yes = false;
  bool force = false;
};

std::string WaitingTasks(const v1::QueueStats& stats) {
  return fmt::format("{} ({} available, {} scheduled, {} retryable)",
                     CountOf(stats.available() + stats.scheduled() + stats.retryable(), "waiting task"),
                     FormatCount(stats.available()), FormatCount(stats.scheduled()), FormatCount(stats.retryable()));
}

absl::StatusOr<int> PurgeQueue(CommandContext& context, const RemoveOptions& options) {
  ASSIGN_OR_RETURN(const v1::Queue queue, GetQueue(context, options.queue));
  RETURN_IF_ERROR(context.Confirm(
      options.yes, fmt::format("This deletes {} of queue {}.", WaitingTasks(queue.stats()), options.queue),
      options.queue));
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::PurgeQueueRequest request;
  request.set_name(options.queue);
  ASSIGN_OR_RETURN(const v1::PurgeQueueResponse response, broker->Call(&AdminStub::PurgeQueue, request));
  RETURN_IF_ERROR(PrintMessage(context, response, options.queue, [&] {
    return fmt::format("queue {}: {} deleted\n", options.queue, CountOf(response.purged(), "task"));
  }));
  return kExitOk;
}

absl::StatusOr<int> DeleteQueue(CommandContext& context, const RemoveOptions& options) {
  ASSIGN_OR_RETURN(const v1::Queue queue, GetQueue(context, options.queue));
  const v1::QueueStats& stats = queue.stats();
  const std::string tasks = fmt::format("{} and {}", WaitingTasks(stats), CountOf(stats.dead(), "dead task"));
  const bool empty = stats.available() + stats.scheduled() + stats.retryable() + stats.dead() == 0;
  if (!empty && !options.force) {
    return absl::FailedPreconditionError(
        fmt::format("queue {} has {}: --force deletes them too", options.queue, tasks));
  }
  RETURN_IF_ERROR(
      context.Confirm(options.yes, fmt::format("This deletes queue {} with {}.", options.queue, tasks), options.queue));
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::DeleteQueueRequest request;
  request.set_name(options.queue);
  request.set_force(options.force);
  ASSIGN_OR_RETURN(const v1::DeleteQueueResponse response, broker->Call(&AdminStub::DeleteQueue, request));
  RETURN_IF_ERROR(
      PrintMessage(context, response, options.queue, [&] { return fmt::format("queue {} deleted\n", options.queue); }));
  return kExitOk;
}

std::shared_ptr<RemoveOptions> AddRemoveOptions(CLI::App& command) {
  auto options = std::make_shared<RemoveOptions>();
  AddText(command, "QUEUE", &options->queue, "QUEUE", "Its name")->required();
  command.add_flag("--yes", options->yes, "Do not ask for the queue's name");
  return options;
}

}  // namespace

void AddQueueCommands(CLI::App& root, Action* action) {
  CLI::App& group = AddCommand(root, "queue", "Queues: see, watch, create, change, pause, resume, drain, purge, delete",
                               "penstock queue list\npenstock queue get mail\npenstock queue pause mail");
  group.require_subcommand(1);

  auto page = std::make_shared<PageOptions>();
  CLI::App& list = AddCommand(group, "list", "Queues in the order of their names",
                              "penstock queue list\npenstock queue list -o name");
  AddPageOptions(list, page.get());
  list.callback([page, action] { *action = [page](CommandContext& context) { return ListQueues(context, *page); }; });

  auto name = std::make_shared<std::string>();
  CLI::App& get = AddCommand(group, "get", "One queue: its tasks, rates and settings", "penstock queue get mail");
  AddText(get, "QUEUE", name.get(), "QUEUE", "Its name")->required();
  get.callback([name, action] {
    *action = [name](CommandContext& context) -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(const v1::Queue queue, GetQueue(context, *name));
      RETURN_IF_ERROR(PrintQueue(context, queue));
      return kExitOk;
    };
  });

  auto watched = std::make_shared<QueueWatchOptions>();
  CLI::App& watch = AddCommand(group, "watch", "Tells of tasks as they finish, from now on; until --timeout or Ctrl-C",
                               "penstock queue watch mail\npenstock queue watch mail --state dead -o jsonl");
  AddText(watch, "QUEUE", &watched->queue, "QUEUE", "Its name")->required();
  AddText(watch, "--type", &watched->type, "TYPE", "Only tasks of this type");
  auto state = std::make_shared<v1::TaskState>(v1::TASK_STATE_UNSPECIFIED);
  AddChoice<v1::TaskState>(
      watch, "--state", state.get(),
      {{"completed", v1::TASK_STATE_COMPLETED}, {"cancelled", v1::TASK_STATE_CANCELLED}, {"dead", v1::TASK_STATE_DEAD}},
      "Only tasks that finish so");
  watch.callback([watched, state, action] {
    if (*state != v1::TASK_STATE_UNSPECIFIED) watched->states = {*state};
    *action = [watched](CommandContext& context) { return WatchQueue(context, *watched); };
  });

  auto created = std::make_shared<SettingOptions>();
  CLI::App& create = AddCommand(group, "create", "Creates a queue with settings; without them, enqueueing is enough",
                                "penstock queue create mail --max-attempts 5 --run-timeout 2m\n"
                                "penstock queue create clicks --durability relaxed");
  AddSettingOptions(create, created.get());
  create.callback(
      [created, action] { *action = [created](CommandContext& context) { return CreateQueue(context, *created); }; });

  auto updated = std::make_shared<SettingOptions>();
  CLI::App& update = AddCommand(group, "update", "Changes settings, for tasks from now on",
                                "penstock queue update mail --result-retention 7d");
  AddSettingOptions(update, updated.get());
  update.callback(
      [updated, action] { *action = [updated](CommandContext& context) { return UpdateQueue(context, *updated); }; });

  AddSteering(group, "pause", "Hands out no more tasks; enqueues are accepted, running tasks go on", "paused",
              &AdminStub::PauseQueue, action);
  AddSteering(group, "resume", "Ends a pause and a drain", "resumed", &AdminStub::ResumeQueue, action);
  AddSteering(group, "drain", "Takes no more tasks; those it has are run",
              "drains: it takes no more tasks, those it has are run", &AdminStub::DrainQueue, action);

  CLI::App& purge = AddCommand(group, "purge", "Deletes the tasks that wait; running, finished and dead ones stay",
                               "penstock queue purge mail\npenstock queue purge mail --yes");
  auto purged = AddRemoveOptions(purge);
  purge.callback(
      [purged, action] { *action = [purged](CommandContext& context) { return PurgeQueue(context, *purged); }; });

  CLI::App& remove = AddCommand(group, "delete", "Deletes a queue and its settings",
                                "penstock queue delete mail\npenstock queue delete mail --force --yes");
  auto removed = AddRemoveOptions(remove);
  remove.add_flag("--force", removed->force, "Also if it has waiting or dead tasks: they are deleted first");
  remove.callback(
      [removed, action] { *action = [removed](CommandContext& context) { return DeleteQueue(context, *removed); }; });
}

}  // namespace penstock::cli
