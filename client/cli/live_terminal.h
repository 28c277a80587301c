#ifndef PENSTOCK_CLIENT_CLI_LIVE_TERMINAL_H_
#define PENSTOCK_CLIENT_CLI_LIVE_TERMINAL_H_

#include <termios.h>

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace penstock::cli {

// The process's terminal while a full-screen command has it: a screen of its own, no cursor, keys without Enter. The
// destructor gives it back as it was, whatever ended the command: signals are read as events, and stopping (Ctrl-Z)
// gives it back for as long.
//
// Take it before there are other threads: they inherit which signals are blocked. One at a time, used by one thread.
class LiveTerminal {
 public:
  // FailedPrecondition: standard input or output is no terminal.
  static absl::StatusOr<std::unique_ptr<LiveTerminal>> Take();
  ~LiveTerminal();
  LiveTerminal(const LiveTerminal&) = delete;
  LiveTerminal& operator=(const LiveTerminal&) = delete;

  int rows() const;
  int columns() const;
  // Shows the first lines of `screen`, as many as there are rows. They must not be wider than the terminal.
  void Draw(std::string_view screen);

  enum class Event { kNothing, kKey, kRedraw, kQuit };
  // Waits for something to happen, at most `time`. With kKey, `key` is set.
  Event Wait(absl::Duration time, char* key);

 private:
  LiveTerminal(const termios& before, int signals);
  void Enter();
  void Leave();
  Event OnSignal();

  const termios before_;
  const int signals_;
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_LIVE_TERMINAL_H_
