// penstock: the program for operators.

#include "client/cli/app.h"
#include "common/lock_checks.h"

int main(int argc, char** argv) {
  penstock::TurnOffLockChecks();
  penstock::cli::Console console = penstock::cli::ProcessConsole();
  return penstock::cli::RunCli({argv + 1, argv + argc}, console);
}
