// penstock: the program for operators.

#include "client/cli/app.h"

int main(int argc, char** argv) {
  penstock::cli::Console console = penstock::cli::ProcessConsole();
  return penstock::cli::RunCli({argv + 1, argv + argc}, console);
}
