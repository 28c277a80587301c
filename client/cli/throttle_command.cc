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
#include "client/cli/throttle_view.h"
#include "client/proto_time.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

constexpr int kUnitsMax = 1'000'000;

// What create and update have in common.
struct ThrottleOptions {
  std::string name;
  std::vector<std::string> queues;
  std::vector<std::string> types;
  bool all_queues = false;
  bool all_types = false;
  v1::ThrottlePer per = v1::THROTTLE_PER_UNSPECIFIED;
  std::optional<int> max_running;
  std::optional<Rate> rate;
  bool no_rate = false;
  std::optional<int> burst;
  std::string note;
  bool note_given = false;
};

void AddThrottleOptions(CLI::App& command, ThrottleOptions* out) {
  AddTexts(command, "--queue", &out->queues, "QUEUE", "Count tasks of this queue; may be repeated [all queues]");
  AddTexts(command, "--type", &out->types, "TYPE", "Count tasks of this type; may be repeated [all types]");
  AddChoice<v1::ThrottlePer>(command, "--per", &out->per,
                             {{"all", v1::THROTTLE_PER_ALL},
                              {"queue", v1::THROTTLE_PER_QUEUE},
                              {"type", v1::THROTTLE_PER_TYPE},
                              {"group", v1::THROTTLE_PER_GROUP},
                              {"key", v1::THROTTLE_PER_KEY}},
                             "What is counted apart, each with a meter of its own; default: all together");
  AddRate(command, "--rate", &out->rate, "So many start in a time, for instance 100/s or 5/10m");
  AddNumber(command, "--burst", &out->burst, 1, kUnitsMax, "So many start at once after a rest [as many as --rate]");
  AddText(command, "--note", &out->note, "TEXT", "For people");
}

absl::StatusOr<v1::ThrottleRate> RateOf(const ThrottleOptions& options) {
  v1::ThrottleRate rate;
  if (!options.rate) return absl::InvalidArgumentError("--burst goes with --rate");
  rate.set_tasks(options.rate->tasks);
  SetProto(options.rate->period, rate.mutable_period());
  rate.set_burst(static_cast<uint32_t>(options.burst.value_or(0)));
  return rate;
}

absl::Status PrintThrottle(CommandContext& context, const v1::Throttle& throttle) {
  return PrintMessage(context, throttle, throttle.name(), [&] { return RenderThrottle(context, throttle); });
}

absl::StatusOr<int> CreateThrottle(CommandContext& context, const ThrottleOptions& options) {
  v1::CreateThrottleRequest request;
  v1::Throttle* throttle = request.mutable_throttle();
  throttle->set_name(options.name);
  throttle->mutable_queues()->Assign(options.queues.begin(), options.queues.end());
  throttle->mutable_types()->Assign(options.types.begin(), options.types.end());
  throttle->set_per(options.per);
  throttle->set_max_running(static_cast<uint32_t>(options.max_running.value_or(0)));
  if (options.rate || options.burst) {
    ASSIGN_OR_RETURN(*throttle->mutable_rate(), RateOf(options));
  }
  throttle->set_note(options.note);
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::CreateThrottleResponse response, broker->Call(&ThrottleStub::CreateThrottle, request));
  RETURN_IF_ERROR(PrintThrottle(context, response.throttle()));
  return kExitOk;
}

absl::StatusOr<int> UpdateThrottle(CommandContext& context, const ThrottleOptions& options) {
  v1::UpdateThrottleRequest request;
  request.set_name(options.name);
  request.mutable_queues()->Assign(options.queues.begin(), options.queues.end());
  request.set_all_queues(options.all_queues);
  request.mutable_types()->Assign(options.types.begin(), options.types.end());
  request.set_all_types(options.all_types);
  request.set_per(options.per);
  if (options.max_running) request.set_max_running(static_cast<uint32_t>(*options.max_running));
  if (options.no_rate) {
    if (options.rate || options.burst) return absl::InvalidArgumentError("say --rate or --no-rate, not both");
    request.mutable_rate();
  } else if (options.rate || options.burst) {
    ASSIGN_OR_RETURN(*request.mutable_rate(), RateOf(options));
  }
  if (options.note_given) request.set_note(options.note);
  v1::UpdateThrottleRequest nothing;
  nothing.set_name(options.name);
  if (request.SerializeAsString() == nothing.SerializeAsString()) {
    return absl::InvalidArgumentError("nothing to change: say what, for instance --max-running 5");
  }
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::UpdateThrottleResponse response, broker->Call(&ThrottleStub::UpdateThrottle, request));
  RETURN_IF_ERROR(PrintThrottle(context, response.throttle()));
  return kExitOk;
}

absl::StatusOr<int> ListThrottles(CommandContext& context, const PageOptions& page) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ListPrinter list(context, "throttles", ThrottleColumns());
  const auto token = WalkPages<v1::ListThrottlesResponse>(
      page,
      [&](int size, const std::string& from) {
        v1::ListThrottlesRequest request;
        request.set_page_size(size);
        request.set_page_token(from);
        return broker->Call(&ThrottleStub::ListThrottles, request);
      },
      [&](const v1::ListThrottlesResponse& response) {
        for (const v1::Throttle& throttle : response.throttles()) {
          list.Add(throttle, throttle.name(), ThrottleCells(throttle));
        }
        return response.throttles_size();
      });
  if (!token.ok()) return token.status();
  list.Finish(*token);
  return kExitOk;
}

absl::StatusOr<int> GetThrottle(CommandContext& context, const std::string& name) {
  v1::GetThrottleRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::GetThrottleResponse response, broker->Call(&ThrottleStub::GetThrottle, request));
  RETURN_IF_ERROR(PrintThrottle(context, response.throttle()));
  return kExitOk;
}

}  // namespace

void AddThrottleCommands(CLI::App& root, Action* action) {
  CLI::App& group = AddCommand(root, "throttle",
                               "Throttles: how many tasks run at once and start in a time. Create, see, change, delete",
                               "penstock throttle create mail-api --type mail.send --max-running 10 --rate 100/s\n"
                               "penstock throttle create tenants --queue reports --per group --max-running 2\n"
                               "penstock throttle list\npenstock throttle get mail-api");
  group.require_subcommand(1);

  auto page = std::make_shared<PageOptions>();
  CLI::App& list = AddCommand(group, "list", "Throttles in the order of their names",
                              "penstock throttle list\npenstock throttle list -o json");
  AddPageOptions(list, page.get());
  list.callback(
      [page, action] { *action = [page](CommandContext& context) { return ListThrottles(context, *page); }; });

  auto name = std::make_shared<std::string>();
  CLI::App& get = AddCommand(group, "get", "One throttle and its meters: what runs, what is left, when it opens",
                             "penstock throttle get mail-api");
  get.alias("show");
  AddText(get, "THROTTLE", name.get(), "THROTTLE", "Its name")->required();
  get.callback([name, action] { *action = [name](CommandContext& context) { return GetThrottle(context, *name); }; });

  auto created = std::make_shared<ThrottleOptions>();
  CLI::App& create = AddCommand(group, "create", "Makes a throttle, which holds at once",
                                "penstock throttle create mail-api --type mail.send --max-running 10 --rate 100/s\n"
                                "penstock throttle create polite --per key --rate 1/10s");
  AddText(create, "THROTTLE", &created->name, "THROTTLE", "Its name")->required();
  AddThrottleOptions(create, created.get());
  AddNumber(create, "--max-running", &created->max_running, 1, kUnitsMax, "So many run at once [no cap]");
  create.callback([created, action] {
    *action = [created](CommandContext& context) { return CreateThrottle(context, *created); };
  });

  auto updated = std::make_shared<ThrottleOptions>();
  CLI::App& update = AddCommand(group, "update", "Changes what is given, at once, also for what waits already",
                                "penstock throttle update mail-api --max-running 20\n"
                                "penstock throttle update mail-api --no-rate");
  AddText(update, "THROTTLE", &updated->name, "THROTTLE", "Its name")->required();
  AddThrottleOptions(update, updated.get());
  AddNumber(update, "--max-running", &updated->max_running, 0, kUnitsMax, "So many run at once; 0: no cap any more");
  update.add_flag("--no-rate", updated->no_rate, "No rate any more");
  update.add_flag("--all-queues", updated->all_queues, "Count tasks of all queues again");
  update.add_flag("--all-types", updated->all_types, "Count tasks of all types again");
  CLI::Option* note = update.get_option("--note");
  update.callback([updated, note, action] {
    updated->note_given = note->count() > 0;
    *action = [updated](CommandContext& context) { return UpdateThrottle(context, *updated); };
  });

  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App& remove =
      AddCommand(group, "delete", "Forgets a throttle; what it held back may run", "penstock throttle delete mail-api");
  AddNames(remove, "THROTTLE", names.get(), "One or more throttles");
  remove.callback([names, action] {
    *action = [names](CommandContext& context) -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(Connection * broker, context.Broker());
      return context.ForEach(*names, [&](const std::string& one) -> absl::Status {
        v1::DeleteThrottleRequest request;
        request.set_name(one);
        ASSIGN_OR_RETURN(const v1::DeleteThrottleResponse response,
                         broker->Call(&ThrottleStub::DeleteThrottle, request));
        return PrintMessage(context, response, one, [&] { return fmt::format("throttle {} deleted\n", one); });
      });
    };
  });
}

}  // namespace penstock::cli
