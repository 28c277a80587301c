// penstock: the program for operators.

#include "client/cli/app.h"
#include "common/lock_checks.h"
#include "common/logging.h"

int main(int argc, char** argv) {
  penstock::TurnOffLockChecks();
  // Of what the workers of a benchmark log, only what went wrong.
  penstock::LogOptions log;
  log.level = "warn";
  penstock::SetUpLogging(log).IgnoreError();  // cannot fail: there is no file, and the level is one
  penstock::cli::Console console = penstock::cli::ProcessConsole();
  return penstock::cli::RunCli({argv + 1, argv + argc}, console);
}
