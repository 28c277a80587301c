#ifndef PENSTOCK_CLIENT_CLI_CONSOLE_H_
#define PENSTOCK_CLIENT_CLI_CONSOLE_H_

#include <cstdint>
#include <istream>
#include <ostream>

#include "common/clock.h"

namespace penstock::cli {

// Where a command reads and writes, and what it may assume of it. Data goes to `out`, everything else to `err`. Made
// once by main or by a test; used by the main thread only.
struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  // Width of the terminal behind `out`; 0: ask it. Without a terminal nothing is cut.
  int columns = 0;
  // Size of what stands in `in`, if it is a file; otherwise 0.
  uint64_t in_bytes = 0;
  const Clock* clock = &SystemClock();
};

// The process's own.
Console ProcessConsole();

// How many columns a line of `out` may have; 0: any number.
int ColumnsOf(const Console& console);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_CONSOLE_H_
