#ifndef PENSTOCK_CLIENT_CLI_COMMANDS_H_
#define PENSTOCK_CLIENT_CLI_COMMANDS_H_

// The command groups. Each adds itself to the tree; a command that was chosen on the command line puts what it does
// into `action`. To add a group: a file of its own, a line here, a line in app.cc.

#include "client/cli/context.h"

namespace CLI {
class App;
}

namespace penstock::cli {

void AddStatusCommand(CLI::App& root, Action* action);
void AddTopCommand(CLI::App& root, Action* action);
void AddQueueCommands(CLI::App& root, Action* action);
void AddTaskCommands(CLI::App& root, Action* action);
// update and delete, into the group `task`.
void AddTaskChangeCommands(CLI::App& group, Action* action);
void AddExplainCommand(CLI::App& root, Action* action);
void AddKeyCommands(CLI::App& root, Action* action);
void AddWorkerCommands(CLI::App& root, Action* action);
void AddDeadCommands(CLI::App& root, Action* action);
void AddBulkCommands(CLI::App& root, Action* action);
void AddScheduleCommands(CLI::App& root, Action* action);
void AddThrottleCommands(CLI::App& root, Action* action);
void AddEnqueueCommand(CLI::App& root, Action* action);
void AddBackupCommands(CLI::App& root, Action* action);
void AddLimitsCommand(CLI::App& root, Action* action);
void AddBenchCommands(CLI::App& root, Action* action);
void AddCompletionCommand(CLI::App& root, Action* action);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_COMMANDS_H_
