#ifndef PENSTOCK_CLIENT_CLI_EXIT_CODE_H_
#define PENSTOCK_CLIENT_CLI_EXIT_CODE_H_

// What the exit code of `penstock` says. An interface: scripts rely on it.

#include "absl/status/status.h"

namespace penstock::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,        // the broker or the task failed, or a limit is reached; status: it has problems
  kExitUsage = 2,         // the command line or a value in it is wrong
  kExitNotFound = 3,      // no such task, queue or worker
  kExitDenied = 4,        // not allowed
  kExitUnavailable = 5,   // no broker, or no answer in time
  kExitPrecondition = 6,  // the task's or queue's state does not allow it, or it exists already
  kExitPartial = 7,       // some of many succeeded
};

ExitCode ExitCodeOf(const absl::Status& status);

// The table that `penstock --help` shows.
inline constexpr char kExitCodeHelp[] =
    "  0  ok\n"
    "  1  failed, or a limit is reached; status: the broker has problems, or tasks wait that no\n"
    "     connected worker handles; wait: the task is dead or cancelled\n"
    "  2  wrong usage, or a value that the broker refuses\n"
    "  3  not found\n"
    "  4  not allowed\n"
    "  5  no broker, or no answer in time\n"
    "  6  the state of the task or queue does not allow it, or it exists already\n"
    "  7  some succeeded, some failed\n";

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_EXIT_CODE_H_
