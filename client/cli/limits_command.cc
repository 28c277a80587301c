#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "common/status.h"

namespace penstock::cli {
namespace {

absl::StatusOr<int> ShowLimits(CommandContext& context) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(const v1::GetLimitsResponse response, broker->Call(&AdminStub::GetLimits, v1::GetLimitsRequest()));
  ListPrinter list(
      context, "limits",
      {{.title = "OPTION"}, {.title = "VALUE"}, {.title = "DEFAULT"}, {.title = "WHAT FOR", .shrink_to = 20}});
  for (const v1::Limit& limit : response.limits()) {
    const bool changed = limit.value() != limit.default_value();
    list.Add(limit, limit.option(),
             {limit.option(), Cell(limit.value(), changed ? Style::kBold : Style::kPlain),
              Cell(limit.default_value(), Style::kDim), limit.description()});
  }
  list.Finish();
  return kExitOk;
}

}  // namespace

void AddLimitsCommand(CLI::App& root, Action* action) {
  AddCommand(root, "limits", "The limits in force at the broker, and what each is for", "penstock limits")
      .callback([action] { *action = ShowLimits; });
}

}  // namespace penstock::cli
