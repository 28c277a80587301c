#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/estimate_text.h"
#include "client/cli/output.h"
#include "client/cli/task_view.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

constexpr int kLabelWidth = 9;

std::string Render(CommandContext& context, const std::string& id, const v1::ExplainTaskResponse& explain) {
  std::string text = fmt::format("{:<{}} {}\n", "task", kLabelWidth, Paint(id, Style::kBold, context.Color()));
  text += fmt::format("{:<{}} {}\n", "state", kLabelWidth,
                      Paint(StateWord(explain.state()), StyleOf(explain.state()), context.Color()));
  const std::string lines = ExplainLines(context, explain, kLabelWidth);
  if (explain.has_position() && explain.reasons_size() == 0) {
    text += fmt::format("{:<{}} {}\n", "waits", kLabelWidth, "nothing keeps it: it is handed out next");
  }
  return text + lines;
}

absl::StatusOr<int> ExplainTasks(CommandContext& context, const std::vector<std::string>& ids) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  bool first = true;
  return context.ForEach(ids, [&](const std::string& id) -> absl::Status {
    v1::ExplainTaskRequest request;
    request.set_task_id(id);
    ASSIGN_OR_RETURN(const v1::ExplainTaskResponse explain, broker->Call(&TaskStub::ExplainTask, request));
    if (!std::exchange(first, false) && context.globals.format == Format::kTable) context.console.out << "\n";
    return PrintMessage(context, explain, id, [&] { return Render(context, id, explain); });
  });
}

}  // namespace

void AddExplainCommand(CLI::App& root, Action* action) {
  auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App& command =
      AddCommand(root, "explain", "Why a task is not running: every reason, what is before it, and when it may start",
                 "penstock explain 0000000004000\npenstock explain 0000000004000 -o json | jq .reasons[].text");
  AddNames(command, "TASK", ids.get(), "One or more ids");
  command.callback([ids, action] { *action = [ids](CommandContext& context) { return ExplainTasks(context, *ids); }; });
}

}  // namespace penstock::cli
