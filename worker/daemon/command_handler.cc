#include "worker/daemon/command_handler.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/time/clock.h"
#include "common/text.h"
#include "fmt/format.h"
#include "worker/daemon/error_lines.h"
#include "worker/daemon/process_groups.h"
#include "worker/daemon/run_files.h"
#include "worker/daemon/task_json.h"

namespace penstock {
namespace {

// How often a running program's task is looked at for cancellation.
constexpr int kLookMillis = 50;
// How often its checkpoint's file is looked at.
constexpr absl::Duration kLookAtCheckpoint = absl::Milliseconds(500);
// At the worker's end the runtime waits for a second after the drain grace, and then nobody is left to end a process
// group.
constexpr absl::Duration kKillGraceAtTheEnd = absl::Milliseconds(500);

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { Close(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read, write;
  bool Open() {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return false;
    read = Fd(fds[0]);
    write = Fd(fds[1]);
    return true;
  }
};

Outcome SystemError(const char* what) {
  return Outcome::Retry({"command", fmt::format("{}: {}", what, strerror(errno)), ""});
}

std::vector<std::string> MakeEnvironment(const CommandOptions& options, const TaskContext& context,
                                         const RunFiles& files) {
  std::vector<std::string> environment;
  for (const char* name : {"PATH", "HOME", "LANG", "TZ", "TMPDIR"}) {
    if (const char* value = getenv(name)) environment.push_back(fmt::format("{}={}", name, value));
  }
  environment.push_back("PENSTOCK_TASK_ID=" + context.id().ToString());
  environment.push_back("PENSTOCK_QUEUE=" + context.queue());
  environment.push_back("PENSTOCK_TYPE=" + context.type());
  environment.push_back(fmt::format("PENSTOCK_ATTEMPT={}", context.attempt()));
  environment.push_back(fmt::format("PENSTOCK_MAX_ATTEMPTS={}", context.max_attempts()));
  environment.push_back(fmt::format("PENSTOCK_FENCING_TOKEN={}", context.fencing_token()));
  environment.push_back("PENSTOCK_CONTENT_TYPE=" + context.content_type());
  if (context.deadline() != absl::InfiniteFuture()) {
    environment.push_back(fmt::format("PENSTOCK_DEADLINE={}", absl::ToUnixSeconds(context.deadline())));
  }
  environment.push_back("PENSTOCK_KEY=" + context.key());
  environment.push_back("PENSTOCK_GROUP=" + context.group());
  environment.push_back("PENSTOCK_CHECKPOINT_FILE=" + files.checkpoint_path());
  environment.push_back("PENSTOCK_ENQUEUE_FILE=" + files.tasks_path());
  if (options.payload_in_file) environment.push_back("PENSTOCK_PAYLOAD_FILE=" + files.payload_path());
  for (const auto& [name, value] : options.environment) environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

void Limit(int resource, uint64_t value) {
  if (value == 0) return;
  const rlimit limit = {value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

// At the soft limit the kernel sends SIGXCPU, which says what was exceeded, and only at the hard one SIGKILL, which
// might be anybody's.
void LimitCpu(uint64_t seconds) {
  if (seconds == 0) return;
  rlimit limit;
  getrlimit(RLIMIT_CPU, &limit);
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, seconds + 1);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, seconds);
  setrlimit(RLIMIT_CPU, &limit);
}

// What stopped a child from becoming its program.
struct StartFailure {
  enum class Step { kPipes, kDirectory, kProgram };
  Step step;
  int error;
};

std::string Describe(const StartFailure& failure, const CommandOptions& options) {
  const char* const reason = strerror(failure.error);
  switch (failure.step) {
    case StartFailure::Step::kPipes:
      return fmt::format("cannot connect {} to its pipes: {}", options.command[0], reason);
    case StartFailure::Step::kDirectory:
      return fmt::format("cannot enter the directory {}: {}", options.directory, reason);
    case StartFailure::Step::kProgram:
      return fmt::format("cannot run {}: {}", options.command[0], reason);
  }
  return reason;
}

// What the child does between fork and exec: async-signal-safe calls only. What stops it goes to `report`.
[[noreturn]] void BecomeCommand(const CommandOptions& options, char* const* argv, char* const* envp, int in, int out,
                                int err, int report, pid_t parent) {
  setpgid(0, 0);
  // A program must not go on beside the next attempt elsewhere when its worker is killed. The signal comes when the
  // thread that forked ends, which waits for the program. What the program itself has started is systemd's to end
  // (KillMode=control-group, its default).
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // killed already
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  StartFailure failure = {StartFailure::Step::kPipes, 0};
  bool ok = dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0;
  // The daemon's own files and sockets are none of the program's business; `report` closes at exec like them.
  close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  if (ok) {
    failure.step = StartFailure::Step::kDirectory;
    ok = options.directory.empty() || chdir(options.directory.c_str()) == 0;
  }
  if (ok) {
    failure.step = StartFailure::Step::kProgram;
    Limit(RLIMIT_AS, options.memory_max);
    LimitCpu(options.cpu_seconds_max);
    Limit(RLIMIT_NOFILE, options.open_files_max);
    Limit(RLIMIT_CORE, 0);
    execvpe(argv[0], argv, envp);
  }
  failure.error = errno;
  (void)!write(report, &failure, sizeof(failure));
  _exit(127);
}

// Reads what is there. False: the end.
template <class Take>
bool ReadAvailable(int fd, Take take) {
  char buffer[16 << 10];
  while (true) {
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got > 0) {
      take(std::string_view(buffer, static_cast<size_t>(got)));
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    return got < 0 && errno == EAGAIN;
  }
}

void SaveCheckpoint(std::optional<std::string> checkpoint, TaskContext& context) {
  if (!checkpoint) return;
  if (const absl::Status saved = context.SaveCheckpoint(*std::move(checkpoint)); !saved.ok()) {
    context.Log(fmt::format("not saved: {}", ToStd(saved.message())));
  }
}

}  // namespace

Outcome RunCommand(const CommandOptions& options, TaskContext& context, std::string_view payload) {
  RunFiles files;
  absl::Status made = files.Make(context.checkpoint());
  if (options.payload_in_file) {
    if (made.ok()) made = files.WritePayload(payload);
    payload = {};
  }
  if (!made.ok()) return Outcome::Retry({"command", std::string(ToStd(made.message())), ""});
  Pipe in, out, err, report;
  if (!in.Open() || !out.Open() || !err.Open() || !report.Open()) return SystemError("cannot make pipes");
  std::vector<std::string> arguments = options.command;
  std::vector<std::string> environment = MakeEnvironment(options, context, files);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return SystemError("cannot start a process");
  if (pid == 0) {
    BecomeCommand(options, argv.data(), envp.data(), in.read.get(), out.write.get(), err.write.get(),
                  report.write.get(), parent);
  }
  setpgid(pid, pid);  // whoever of the two is first
  const RunningGroup group(pid);
  in.read.Close();
  out.write.Close();
  err.write.Close();
  report.write.Close();
  StartFailure failure;
  if (read(report.read.get(), &failure, sizeof(failure)) == sizeof(failure)) {
    waitpid(pid, nullptr, 0);
    return Outcome::Retry({"command", Describe(failure, options), ""});
  }
  for (int fd : {in.write.get(), out.read.get(), err.read.get()}) fcntl(fd, F_SETFL, O_NONBLOCK);

  std::string result;
  bool too_large = false;
  ErrorLines lines(context);
  std::optional<int> status;
  absl::Time kill_at = absl::InfiniteFuture();
  absl::Time look_at = absl::Now() + kLookAtCheckpoint;
  bool told_to_end = false;
  while (true) {
    // Nothing more to write: the program sees the end of its input.
    if (payload.empty()) in.write.Close();
    pollfd fds[3];
    int count = 0;
    if (in.write.open()) fds[count++] = {in.write.get(), POLLOUT, 0};
    if (out.read.open()) fds[count++] = {out.read.get(), POLLIN, 0};
    if (err.read.open()) fds[count++] = {err.read.get(), POLLIN, 0};
    // Both ends closed: the exit is a moment away.
    poll(fds, static_cast<nfds_t>(count), count > 0 ? kLookMillis : 1);
    int wait_status = 0;
    if (waitpid(pid, &wait_status, WNOHANG) == pid) status = wait_status;
    if (in.write.open()) {
      const ssize_t written = write(in.write.get(), payload.data(), payload.size());
      if (written > 0) {
        payload.remove_prefix(static_cast<size_t>(written));
      } else if (written < 0 && errno != EAGAIN && errno != EINTR) {
        in.write.Close();  // the program does not want the rest
      }
    }
    auto take_result = [&](std::string_view text) {
      const size_t room = options.result_max - result.size();
      if (text.size() > room) too_large = true;
      result += text.substr(0, room);
    };
    if (out.read.open() && !ReadAvailable(out.read.get(), take_result)) out.read.Close();
    if (err.read.open() && !ReadAvailable(err.read.get(), [&](std::string_view text) { lines.Add(text); }))
      err.read.Close();
    if (status) break;
    const absl::Time now = absl::Now();
    if (!told_to_end && (context.cancelled() || too_large)) {
      told_to_end = true;
      kill_at =
          now + (context.cancel_reason() == CancelReason::kShutdown ? std::min(options.kill_grace, kKillGraceAtTheEnd)
                                                                    : options.kill_grace);
      group.Signal(SIGTERM);
    }
    if (now >= look_at) {
      look_at = now + kLookAtCheckpoint;
      SaveCheckpoint(files.NewCheckpoint(false), context);
    }
    if (now >= kill_at) {
      kill_at = absl::InfiniteFuture();
      group.Signal(SIGKILL);
    }
  }
  group.Signal(SIGKILL);  // what it left running
  lines.Flush();
  const bool ended_well = WIFEXITED(*status) && WEXITSTATUS(*status) == 0;
  if (!ended_well) SaveCheckpoint(files.NewCheckpoint(true), context);

  // Many programs end with 0 at SIGTERM, however far they have come: that is no completion.
  switch (context.cancel_reason()) {
    case CancelReason::kNone:
      break;
    case CancelReason::kShutdown:
      return Outcome::Release();
    default:
      return Outcome::Cancelled();
  }
  if (too_large) {
    return Outcome::Reject({"result too large",
                            fmt::format("the result has more than {} bytes; store it elsewhere and "
                                        "print where",
                                        options.result_max),
                            lines.tail()});
  }
  if (ended_well) {
    const absl::StatusOr<std::string> tasks = files.Tasks();
    const absl::Status enqueued = tasks.ok() ? EnqueueTaskLines(*tasks, context) : tasks.status();
    if (enqueued.ok()) return Outcome::Done(std::move(result), options.result_content_type);
    return Outcome::Retry(
        {"enqueue", fmt::format("PENSTOCK_ENQUEUE_FILE: {}", ToStd(enqueued.message())), lines.tail()});
  }
  HandlerError error;
  if (WIFEXITED(*status)) {
    error.type = fmt::format("exit {}", WEXITSTATUS(*status));
  } else {
    error.type =
        fmt::format("signal {}", sigabbrev_np(WTERMSIG(*status)) != nullptr ? sigabbrev_np(WTERMSIG(*status)) : "?");
  }
  if (WIFSIGNALED(*status) && WTERMSIG(*status) == SIGXCPU && options.cpu_seconds_max > 0) {
    error.message = fmt::format("{} used more than its cpu_seconds_max of {} s of CPU time", options.command[0],
                                options.cpu_seconds_max);
    error.detail = lines.tail();
  } else if (lines.last().empty()) {
    error.message = fmt::format("{} ended with {}", options.command[0], error.type);
  } else {
    error.message = lines.last();
    error.detail = lines.tail_before_last();
  }
  const bool reject =
      WIFEXITED(*status) && std::find(options.reject_exit_codes.begin(), options.reject_exit_codes.end(),
                                      WEXITSTATUS(*status)) != options.reject_exit_codes.end();
  if (reject) return Outcome::Reject(std::move(error));
  if (!lines.wait()) return Outcome::Retry(std::move(error));
  // A crash is a failure, whatever was said before.
  if (lines.wait()->snooze && WIFEXITED(*status)) return Outcome::Snooze(lines.wait()->delay, lines.wait()->cool);
  return Outcome::RetryAfter(lines.wait()->delay, std::move(error), lines.wait()->cool);
}

}  // namespace penstock
