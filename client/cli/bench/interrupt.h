#ifndef PENSTOCK_CLIENT_CLI_BENCH_INTERRUPT_H_
#define PENSTOCK_CLIENT_CLI_BENCH_INTERRUPT_H_

#include <signal.h>

namespace penstock::cli {

// While it lives, SIGINT and SIGTERM are only noted, so that what was begun can be cleared away; a second one ends the
// process. At most one at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  // The signal that came; 0: none.
  static int number();

 private:
  struct sigaction before_int_ = {};
  struct sigaction before_term_ = {};
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_INTERRUPT_H_
