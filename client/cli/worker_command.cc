#include <map>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_join.h"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/pages.h"
#include "client/cli/proto_time.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

std::string StateOf(const v1::Worker& worker) {
  if (!worker.connected()) return "disconnected";
  return worker.draining() ? "draining" : "connected";
}

std::string LabelsOf(const v1::Worker& worker) {
  // In an order of their own: a map's has none.
  const std::map<std::string, std::string> labels(worker.labels().begin(), worker.labels().end());
  return absl::StrJoin(labels, ",", absl::PairFormatter("="));
}

absl::StatusOr<int> ListWorkers(CommandContext& context, const PageOptions& page) {
  ListPrinter list(context, "workers",
                   {{.title = "NAME", .shrink_to = 12},
                    {.title = "ID"},
                    {.title = "STATE"},
                    {.title = "SLOTS", .right = true},
                    {.title = "STUCK", .right = true},
                    {.title = "HEARD", .right = true},
                    {.title = "CONNECTED", .right = true, .optional = 1},
                    {.title = "HOST:PID", .shrink_to = 10, .optional = 1},
                    {.title = "QUEUES", .shrink_to = 10},
                    {.title = "TYPES", .shrink_to = 10},
                    {.title = "LABELS", .shrink_to = 10, .optional = 1},
                    {.title = "VERSION", .optional = 1}});
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  const auto token = WalkPages<v1::ListWorkersResponse>(
      page,
      [&](int size, const std::string& from) {
        v1::ListWorkersRequest request;
        request.set_page_size(size);
        request.set_page_token(from);
        return broker->Call(&AdminStub::ListWorkers, request);
      },
      [&](const v1::ListWorkersResponse& response) {
        for (const v1::Worker& worker : response.workers()) {
          const int stuck = worker.stuck_task_ids_size();
          list.Add(worker, worker.worker_id(),
                   {Cell(worker.name(), Style::kBold), worker.worker_id(),
                    Cell(StateOf(worker), StateOf(worker) == "connected" ? Style::kPlain : Style::kYellow),
                    Cell(fmt::format("{}/{}", worker.started() + stuck, worker.concurrency())),
                    Cell(std::to_string(stuck), stuck > 0 ? Style::kYellow : Style::kDim),
                    penstock::FormatDuration(ToDuration(worker.silence())) + " ago",
                    Relative(ToTime(worker.connect_time()), context.Now()),
                    fmt::format("{}:{}", worker.host(), worker.pid()), Cell(absl::StrJoin(worker.queues(), ",")),
                    Cell(absl::StrJoin(worker.types(), ",")), Cell(LabelsOf(worker)), worker.version()});
        }
        return response.workers_size();
      });
  if (!token.ok()) return token.status();
  list.Finish(*token);
  return kExitOk;
}

absl::StatusOr<int> DrainWorkers(CommandContext& context, const std::vector<std::string>& workers) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return context.ForEach(workers, [&](const std::string& worker) -> absl::Status {
    v1::DrainWorkerRequest request;
    request.set_worker(worker);
    ASSIGN_OR_RETURN(const v1::DrainWorkerResponse response, broker->Call(&AdminStub::DrainWorker, request));
    return PrintMessage(context, response, worker, [&] {
      return fmt::format("worker {} drains: it finishes what it runs, takes no more, and leaves\n", worker);
    });
  });
}

}  // namespace

void AddWorkerCommands(CLI::App& root, Action* action) {
  CLI::App& group =
      AddCommand(root, "worker", "Connected workers", "penstock worker list\npenstock worker drain mailer@host7");
  group.require_subcommand(1);

  auto page = std::make_shared<PageOptions>();
  CLI::App& list = AddCommand(group, "list", "Connected workers, and those within their grace", "penstock worker list");
  AddPageOptions(list, page.get());
  list.callback([page, action] { *action = [page](CommandContext& context) { return ListWorkers(context, *page); }; });

  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App& drain = AddCommand(group, "drain", "Lets workers finish what they run and leave",
                               "penstock worker drain mailer@host7\npenstock worker drain w12 w13");
  AddNames(drain, "WORKER", names.get(), "An id, or a name that only one worker has");
  drain.callback(
      [names, action] { *action = [names](CommandContext& context) { return DrainWorkers(context, *names); }; });
}

}  // namespace penstock::cli
