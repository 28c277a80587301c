#include "client/cli/console.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "absl/strings/numbers.h"

namespace penstock::cli {

Console ProcessConsole() {
  Console console{std::cin, std::cout, std::cerr};
  console.in_is_terminal = isatty(STDIN_FILENO) == 1;
  console.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  console.err_is_terminal = isatty(STDERR_FILENO) == 1;
  struct stat input {};
  if (fstat(STDIN_FILENO, &input) == 0 && S_ISREG(input.st_mode))
    console.in_bytes = static_cast<uint64_t>(input.st_size);
  return console;
}

int ColumnsOf(const Console& console) {
  if (!console.out_is_terminal) return 0;
  if (console.columns > 0) return console.columns;
  // Set by people who want another width than the terminal says.
  int columns = 0;
  const char* variable = std::getenv("COLUMNS");
  if (variable != nullptr && absl::SimpleAtoi(variable, &columns) && columns > 0) return columns;
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace penstock::cli
