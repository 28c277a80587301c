#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/pages.h"
#include "client/cli/proto_time.h"
#include "client/cli/schedule_view.h"
#include "client/cli/task_options.h"
#include "client/proto_time.h"
#include "client/task_spec.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

// When a schedule has ticks.
struct TimesOptions {
  std::string cron;
  std::string zone;
  std::optional<absl::Duration> every;
  std::optional<absl::Time> start;
  std::optional<absl::Time> end;

  bool given() const { return !cron.empty() || !zone.empty() || every || start || end; }
};

struct ScheduleOptions : TaskOptions {
  std::string name;
  TimesOptions times;
  std::optional<absl::Duration> start_within;
  v1::CatchUp catch_up = v1::CATCH_UP_UNSPECIFIED;
  v1::Overlap overlap = v1::OVERLAP_UNSPECIFIED;
  std::string note;
  bool paused = false;
};

void AddTimesOptions(CLI::App& command, TimesOptions* out) {
  AddText(command, "--cron", &out->cron, "CRON",
          "Five fields, \"minute hour day-of-month month day-of-week\", or six, with the second first; or @daily and "
          "the like");
  AddText(command, "--zone", &out->zone, "ZONE", "The time zone of --cron, for instance Europe/Berlin [UTC]");
  AddDuration(command, "--every", &out->every, "A tick every so often, instead of --cron", absl::Seconds(1));
  AddTime(command, "--start", &out->start, "No tick before it, for instance 2026-11-22T15:04:05Z");
  AddTime(command, "--end", &out->end, "No tick after it");
}

void AddPolicyOptions(CLI::App& command, ScheduleOptions* out) {
  AddDuration(command, "--start-within", &out->start_within,
              "A task that was not begun this long after it was made dies; 0: it waits");
  AddChoice<v1::CatchUp>(command, "--catch-up", &out->catch_up,
                         {{"none", v1::CATCH_UP_NONE}, {"one", v1::CATCH_UP_ONE}, {"all", v1::CATCH_UP_ALL}},
                         "Which of the ticks that came while the broker was away are made up for; one is the last of "
                         "them, and the default");
  AddChoice<v1::Overlap>(
      command, "--overlap", &out->overlap,
      {{"allow", v1::OVERLAP_ALLOW}, {"skip", v1::OVERLAP_SKIP}, {"cancel", v1::OVERLAP_CANCEL_PREVIOUS}},
      "A tick while the last task is not finished: a task of its own (the default), none, or the "
      "last task is cancelled");
  AddText(command, "--note", &out->note, "TEXT", "For people");
}

absl::Status Fill(const TimesOptions& options, v1::ScheduleTimes* out) {
  if (options.cron.empty() == !options.every) {
    return absl::InvalidArgumentError("say when: --cron or --every, and not both");
  }
  if (options.every) {
    Set(*options.every, out->mutable_interval());
  } else {
    out->set_cron(options.cron);
  }
  out->set_time_zone(options.zone);
  if (options.start) SetProto(*options.start, out->mutable_start_time());
  if (options.end) SetProto(*options.end, out->mutable_end_time());
  return absl::OkStatus();
}

absl::Status PrintSchedule(CommandContext& context, const v1::Schedule& schedule) {
  return PrintMessage(context, schedule, schedule.name(), [&] { return RenderSchedule(context, schedule); });
}

absl::StatusOr<v1::Schedule> GetSchedule(CommandContext& context, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::GetScheduleRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(v1::GetScheduleResponse response, broker->Call(&ScheduleStub::GetSchedule, request));
  return std::move(*response.mutable_schedule());
}

absl::Status FillTask(CommandContext& context, const ScheduleOptions& options, v1::TaskSpec* out) {
  if (!options.payload.empty() && !options.file.empty()) {
    return absl::InvalidArgumentError("say PAYLOAD or --file, not both");
  }
  NewTask task = MakeTask(options);
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(task.payload, ReadPayload(context, options.file));
  }
  return FillTaskSpec(std::move(task), out);
}

absl::StatusOr<int> CreateSchedule(CommandContext& context, const ScheduleOptions& options) {
  v1::CreateScheduleRequest request;
  v1::Schedule* schedule = request.mutable_schedule();
  schedule->set_name(options.name);
  RETURN_IF_ERROR(Fill(options.times, schedule->mutable_times()));
  RETURN_IF_ERROR(FillTask(context, options, schedule->mutable_task()));
  if (options.start_within) Set(*options.start_within, schedule->mutable_start_within());
  schedule->set_catch_up(options.catch_up);
  schedule->set_overlap(options.overlap);
  schedule->set_note(options.note);
  schedule->set_paused(options.paused);
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::CreateScheduleResponse response, broker->Call(&ScheduleStub::CreateSchedule, request));
  RETURN_IF_ERROR(PrintSchedule(context, response.schedule()));
  return kExitOk;
}

// Of a task, an update changes what is given; the API replaces it as a whole.
struct UpdateOptions : ScheduleOptions {
  bool payload_given = false;
  bool note_given = false;

  bool task_given() const { return !queue.empty() || !type.empty() || payload_given || !file.empty(); }
};

absl::StatusOr<int> UpdateSchedule(CommandContext& context, const UpdateOptions& options) {
  v1::UpdateScheduleRequest request;
  request.set_name(options.name);
  if (options.times.given()) RETURN_IF_ERROR(Fill(options.times, request.mutable_times()));
  if (options.task_given()) {
    if (options.payload_given && !options.file.empty()) {
      return absl::InvalidArgumentError("say --payload or --file, not both");
    }
    ASSIGN_OR_RETURN(v1::Schedule schedule, GetSchedule(context, options.name));
    v1::TaskSpec* task = request.mutable_task();
    task->Swap(schedule.mutable_task());
    if (!options.queue.empty()) task->set_queue(options.queue);
    if (!options.type.empty()) task->set_type(options.type);
    if (options.payload_given) task->set_payload(options.payload);
    if (!options.file.empty()) {
      ASSIGN_OR_RETURN(*task->mutable_payload(), ReadPayload(context, options.file));
    }
  }
  if (options.start_within) Set(*options.start_within, request.mutable_start_within());
  request.set_catch_up(options.catch_up);
  request.set_overlap(options.overlap);
  if (options.note_given) request.set_note(options.note);
  v1::UpdateScheduleRequest nothing;
  nothing.set_name(options.name);
  if (request.SerializeAsString() == nothing.SerializeAsString()) {
    return absl::InvalidArgumentError("nothing to change: say what, for instance --cron '0 3 * * *'");
  }
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::UpdateScheduleResponse response, broker->Call(&ScheduleStub::UpdateSchedule, request));
  RETURN_IF_ERROR(PrintSchedule(context, response.schedule()));
  return kExitOk;
}

absl::StatusOr<int> ListSchedules(CommandContext& context, const PageOptions& page) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ListPrinter list(context, "schedules", ScheduleColumns());
  const auto token = WalkPages<v1::ListSchedulesResponse>(
      page,
      [&](int size, const std::string& from) {
        v1::ListSchedulesRequest request;
        request.set_page_size(size);
        request.set_page_token(from);
        return broker->Call(&ScheduleStub::ListSchedules, request);
      },
      [&](const v1::ListSchedulesResponse& response) {
        for (const v1::Schedule& schedule : response.schedules()) {
          list.Add(schedule, schedule.name(), ScheduleCells(schedule, context.Now()));
        }
        return response.schedules_size();
      });
  if (!token.ok()) return token.status();
  list.Finish(*token);
  return kExitOk;
}

struct PreviewOptions {
  TimesOptions times;
  std::optional<int> count;
  std::optional<absl::Time> after;
};

absl::StatusOr<int> PreviewSchedule(CommandContext& context, const PreviewOptions& options) {
  v1::PreviewScheduleRequest request;
  RETURN_IF_ERROR(Fill(options.times, request.mutable_times()));
  request.set_count(options.count.value_or(0));
  if (options.after) SetProto(*options.after, request.mutable_after());
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::PreviewScheduleResponse response, broker->Call(&ScheduleStub::PreviewSchedule, request));
  RETURN_IF_ERROR(PrintMessage(context, response, "", [&] {
    std::string text;
    for (const auto& tick : response.ticks()) {
      text += fmt::format("{}  {}\n", LocalTime(request.times(), ToTime(tick)), Relative(ToTime(tick), context.Now()));
    }
    return text;
  }));
  return kExitOk;
}

// Pause, resume, run and delete are alike: names in, a line out for each.
template <class Request, class Response>
void AddSteering(CLI::App& group, const std::string& verb, const std::string& help,
                 grpc::Status (ScheduleStub::*method)(grpc::ClientContext*, const Request&, Response*),
                 std::string (*done)(const std::string& name, const Response& response), Action* action) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App& command = AddCommand(group, verb, help, fmt::format("penstock schedule {} nightly", verb));
  AddNames(command, "SCHEDULE", names.get(), "One or more schedules");
  command.callback([names, method, done, action] {
    *action = [names, method, done](CommandContext& context) -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(Connection * broker, context.Broker());
      return context.ForEach(*names, [&](const std::string& name) -> absl::Status {
        Request request;
        request.set_name(name);
        ASSIGN_OR_RETURN(const Response response, broker->Call(method, request));
        return PrintMessage(context, response, name, [&] { return done(name, response); });
      });
    };
  });
}

void AddCreate(CLI::App& group, Action* action) {
  auto options = std::make_shared<ScheduleOptions>();
  CLI::App& create = AddCommand(group, "create", "Makes a schedule, whose ticks the broker enqueues as tasks",
                                "penstock schedule create nightly reports report.generate '{\"title\": \"night\"}' "
                                "--cron '30 2 * * *' --zone Europe/Berlin\n"
                                "penstock schedule create poll mail imap.poll --every 10s --overlap skip");
  AddText(create, "SCHEDULE", &options->name, "SCHEDULE", "Its name")->required();
  AddText(create, "QUEUE", &options->queue, "QUEUE", "The queue of its tasks")->required();
  AddText(create, "TYPE", &options->type, "TYPE", "Names the handler")->required();
  AddText(create, "PAYLOAD", &options->payload, "PAYLOAD", "What the handler gets; default: nothing");
  AddText(create, "--file", &options->file, "FILE", "Take the payload from there; - is standard input");
  AddTimesOptions(create, &options->times);
  AddPolicyOptions(create, options.get());
  create.add_flag("--paused", options->paused, "It begins paused");
  AddTaskOptions(create, options.get());
  create.callback([options, action] {
    *action = [options](CommandContext& context) { return CreateSchedule(context, *options); };
  });
}

void AddUpdate(CLI::App& group, Action* action) {
  auto options = std::make_shared<UpdateOptions>();
  CLI::App& update =
      AddCommand(group, "update", "Changes what is given. Other times begin anew; the rest of a task stays",
                 "penstock schedule update nightly --cron '0 4 * * *' --zone Europe/Berlin\n"
                 "penstock schedule update nightly --overlap cancel");
  AddText(update, "SCHEDULE", &options->name, "SCHEDULE", "Its name")->required();
  AddTimesOptions(update, &options->times);
  AddPolicyOptions(update, options.get());
  AddText(update, "--queue", &options->queue, "QUEUE", "The queue of its tasks");
  AddText(update, "--type", &options->type, "TYPE", "Names the handler");
  CLI::Option* payload = AddText(update, "--payload", &options->payload, "PAYLOAD", "What the handler gets");
  AddText(update, "--file", &options->file, "FILE", "The same, from there; - is standard input");
  CLI::Option* note = update.get_option("--note");
  update.callback([options, payload, note, action] {
    options->payload_given = payload->count() > 0;
    options->note_given = note->count() > 0;
    *action = [options](CommandContext& context) { return UpdateSchedule(context, *options); };
  });
}

}  // namespace

void AddScheduleCommands(CLI::App& root, Action* action) {
  CLI::App& group =
      AddCommand(root, "schedule", "Schedules: create, see, change, pause, resume, run now, delete, preview",
                 "penstock schedule list\npenstock schedule get nightly\n"
                 "penstock schedule preview --cron '0 9 * * MON-FRI' --zone America/New_York");
  group.require_subcommand(1);

  auto page = std::make_shared<PageOptions>();
  CLI::App& list = AddCommand(group, "list", "Schedules in the order of their names",
                              "penstock schedule list\npenstock schedule list -o json");
  AddPageOptions(list, page.get());
  list.callback(
      [page, action] { *action = [page](CommandContext& context) { return ListSchedules(context, *page); }; });

  auto name = std::make_shared<std::string>();
  CLI::App& get = AddCommand(group, "get", "One schedule: its times, next ticks, counts and policies",
                             "penstock schedule get nightly");
  get.alias("show");
  AddText(get, "SCHEDULE", name.get(), "SCHEDULE", "Its name")->required();
  get.callback([name, action] {
    *action = [name](CommandContext& context) -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(const v1::Schedule schedule, GetSchedule(context, *name));
      RETURN_IF_ERROR(PrintSchedule(context, schedule));
      return kExitOk;
    };
  });

  AddCreate(group, action);
  AddUpdate(group, action);
  AddSteering<v1::PauseScheduleRequest, v1::PauseScheduleResponse>(
      group, "pause", "No tick makes a task until it is resumed", &ScheduleStub::PauseSchedule,
      [](const std::string& schedule, const v1::PauseScheduleResponse&) {
        return fmt::format("schedule {} paused\n", schedule);
      },
      action);
  AddSteering<v1::ResumeScheduleRequest, v1::ResumeScheduleResponse>(
      group, "resume", "Goes on with the first tick from now on", &ScheduleStub::ResumeSchedule,
      [](const std::string& schedule, const v1::ResumeScheduleResponse&) {
        return fmt::format("schedule {} resumed\n", schedule);
      },
      action);
  AddSteering<v1::RunScheduleNowRequest, v1::RunScheduleNowResponse>(
      group, "run", "Makes a task at once and prints its id; the next tick stays", &ScheduleStub::RunScheduleNow,
      [](const std::string&, const v1::RunScheduleNowResponse& response) { return response.task_id() + "\n"; }, action);
  AddSteering<v1::DeleteScheduleRequest, v1::DeleteScheduleResponse>(
      group, "delete", "Forgets a schedule; tasks that it made stay", &ScheduleStub::DeleteSchedule,
      [](const std::string& schedule, const v1::DeleteScheduleResponse&) {
        return fmt::format("schedule {} deleted\n", schedule);
      },
      action);

  auto preview = std::make_shared<PreviewOptions>();
  CLI::App& previewed = AddCommand(group, "preview", "The next ticks that a schedule with these times would have",
                                   "penstock schedule preview --cron '30 2 * * *' --zone Europe/Berlin\n"
                                   "penstock schedule preview --every 90m --count 3");
  AddTimesOptions(previewed, &preview->times);
  AddNumber(previewed, "--count", &preview->count, 1, 100, "How many")->default_str("10");
  AddTime(previewed, "--after", &preview->after, "After this time, instead of now");
  previewed.callback([preview, action] {
    *action = [preview](CommandContext& context) { return PreviewSchedule(context, *preview); };
  });
}

}  // namespace penstock::cli
