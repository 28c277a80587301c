#include "client/cli/live_terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace penstock::cli {
namespace {

// The other screen, no cursor; and back.
constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";

void Write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written <= 0) return;  // the terminal is gone: SIGHUP follows
    text.remove_prefix(static_cast<size_t>(written));
  }
}

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH}) sigaddset(&signals, number);
  return signals;
}

winsize Size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return {24, 80, 0, 0};
  return size;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LiveTerminal>> LiveTerminal::Take() {
  termios before;
  if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1 || tcgetattr(STDIN_FILENO, &before) != 0) {
    return absl::InvalidArgumentError(
        "this needs a terminal; without one: penstock status, or again and again: penstock status --watch");
  }
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const int descriptor = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (descriptor < 0) return absl::InternalError("signalfd failed");
  return std::unique_ptr<LiveTerminal>(new LiveTerminal(before, descriptor));
}

LiveTerminal::LiveTerminal(const termios& before, int signals) : before_(before), signals_(signals) { Enter(); }

LiveTerminal::~LiveTerminal() {
  Leave();
  close(signals_);
}

void LiveTerminal::Enter() {
  termios raw = before_;
  // Keys as they are typed, not echoed; Ctrl-C and Ctrl-Z stay signals.
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  Write(kEnter);
}

void LiveTerminal::Leave() {
  Write(kLeave);
  tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

int LiveTerminal::rows() const { return Size().ws_row; }
int LiveTerminal::columns() const { return Size().ws_col; }

void LiveTerminal::Draw(std::string_view screen) {
  // Every line is cleared to its end, so that nothing flickers.
  std::string text = "\x1b[H";
  const int rows_max = rows();
  for (int row = 0; row < rows_max && !screen.empty(); ++row) {
    const size_t end = std::min(screen.find('\n'), screen.size());
    if (row > 0) text += "\r\n";
    text += screen.substr(0, end);
    text += "\x1b[K";
    screen.remove_prefix(std::min(end + 1, screen.size()));
  }
  Write(text + "\x1b[J");
}

LiveTerminal::Event LiveTerminal::Wait(absl::Duration time, char* key) {
  pollfd descriptors[] = {{STDIN_FILENO, POLLIN, 0}, {signals_, POLLIN, 0}};
  const int ready =
      poll(descriptors, 2, static_cast<int>(absl::ToInt64Milliseconds(std::max(time, absl::ZeroDuration()))));
  if (ready <= 0) return Event::kNothing;
  if (descriptors[1].revents != 0) return OnSignal();
  // The terminal was closed.
  if (read(STDIN_FILENO, key, 1) != 1) return Event::kQuit;
  return Event::kKey;
}

LiveTerminal::Event LiveTerminal::OnSignal() {
  signalfd_siginfo info;
  if (read(signals_, &info, sizeof(info)) != sizeof(info)) return Event::kNothing;
  if (info.ssi_signo == SIGWINCH) return Event::kRedraw;
  if (info.ssi_signo != SIGTSTP) return Event::kQuit;
  Leave();
  raise(SIGSTOP);
  Enter();
  return Event::kRedraw;
}

}  // namespace penstock::cli
