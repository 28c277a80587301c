#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/status_screen.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

struct StatusOptions {
  std::optional<absl::Duration> watch;
  std::optional<int> max_queues;
  std::optional<int> max_workers;
};

absl::StatusOr<int> ShowStatus(CommandContext& context, const StatusOptions& options, bool redraw) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::GetStatusRequest request;
  request.set_max_queues(options.max_queues.value_or(20));
  request.set_max_workers(options.max_workers.value_or(20));
  ASSIGN_OR_RETURN(const v1::GetStatusResponse status, broker->Call(&AdminStub::GetStatus, request));
  RETURN_IF_ERROR(PrintMessage(context, status, "", [&] {
    const TableOptions table = context.MakeTableOptions();
    const std::string screen = RenderStatus(status, {.endpoint = context.globals.endpoint,
                                                     .now = context.Now(),
                                                     .columns = table.columns,
                                                     .color = table.color,
                                                     .headers = table.headers});
    // From the top of the terminal, clearing what an earlier screen left.
    return redraw ? "\x1b[H\x1b[2J" + screen : screen;
  }));
  return IsHealthy(status) ? kExitOk : kExitFailed;
}

// Until it is interrupted: a broker that restarts is waited for.
absl::StatusOr<int> WatchStatus(CommandContext& context, const StatusOptions& options) {
  const bool redraw = context.console.out_is_terminal && context.globals.format == Format::kTable;
  for (bool first = true;; first = false) {
    if (!first && !redraw && context.globals.format == Format::kTable) context.console.out << "\n";
    const absl::StatusOr<int> shown = ShowStatus(context, options, redraw);
    if (!shown.ok()) {
      if (ExitCodeOf(shown.status()) != kExitUnavailable) return shown;
      context.Error(shown.status());
    }
    if (!context.console.out) return kExitFailed;
    absl::SleepFor(*options.watch);
  }
}

}  // namespace

void AddStatusCommand(CLI::App& root, Action* action) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App& command = AddCommand(root, "status", "Is all well? The broker, its queues and workers on one screen",
                                 "penstock status\n"
                                 "penstock status --watch          again every 2 s\n"
                                 "penstock status -o json | jq .totals");
  AddDuration(command, "--watch", &options->watch, "Show it again and again, every 2 s or as said",
              absl::Milliseconds(10))
      ->expected(0, 1)
      ->default_str("2s");
  AddNumber(command, "--max-queues", &options->max_queues, 1, 1'000,
            "Show at most this many queues, those with the oldest waiting tasks")
      ->default_str("20");
  AddNumber(command, "--max-workers", &options->max_workers, 1, 1'000, "Show at most this many workers")
      ->default_str("20");
  command.callback([options, action] {
    *action = [options](CommandContext& context) {
      return options->watch ? WatchStatus(context, *options) : ShowStatus(context, *options, false);
    };
  });
}

}  // namespace penstock::cli
