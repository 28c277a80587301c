#ifndef PENSTOCK_CLIENT_CLI_APP_H_
#define PENSTOCK_CLIENT_CLI_APP_H_

#include <string>
#include <vector>

#include "client/cli/console.h"

namespace penstock::cli {

// Runs `penstock` with these arguments (without the program's name) and returns its exit code. Environment: PENSTOCK_*
// as --help says, NO_COLOR, TERM, COLUMNS. Call it from one thread.
int RunCli(const std::vector<std::string>& arguments, Console& console);

// The words of every command and group in the tree by which RunCli reads a command line, groups before what is in them:
// {"queue"}, {"queue", "list"}. For tests that leave none out.
std::vector<std::vector<std::string>> AllCommands();

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_APP_H_
