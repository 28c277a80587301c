#ifndef PENSTOCK_CLIENT_CLI_TASK_VIEW_H_
#define PENSTOCK_CLIENT_CLI_TASK_VIEW_H_

// Tasks as people read them.

#include <string>
#include <vector>

#include "client/cli/context.h"
#include "client/cli/table.h"
#include "penstock/v1/task.pb.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::cli {

// "running".
std::string StateWord(v1::TaskState state);
Style StyleOf(v1::TaskState state);
// "attempts used up".
std::string ReasonWord(v1::DeadReason reason);
// "SmtpError: connection refused", printable, on one line.
std::string ErrorLine(const v1::TaskError& error);

// "40% copying", and how long the rest will take if that can be told.
std::string ProgressText(const v1::Progress& progress);

// The whole story, every attempt with its error included.
// `explain`: why it is not running, if it waits and that is known.
std::string RenderTask(const CommandContext& context, const v1::Task& task,
                       const v1::ExplainTaskResponse* explain = nullptr);

// A task as a row of a list.
std::vector<Column> TaskColumns();
std::vector<Cell> TaskCells(const v1::Task& task, absl::Time now);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_TASK_VIEW_H_
