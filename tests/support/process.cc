#include "tests/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/time/clock.h"

namespace penstock::testing {

Process::Process(std::vector<std::string> command) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) std::abort();
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    dup2(fds[1], 1);
    dup2(fds[1], 2);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(fds[1]);
  out_ = fds[0];
  reader_ = std::thread([this] { Read(); });
}

Process::~Process() {
  if (!reaped_) {
    kill(pid_, SIGKILL);
    Wait();
  }
  reader_.join();
  close(out_);
}

void Process::Read() {
  char buffer[4'096];
  while (true) {
    const ssize_t got = read(out_, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    MutexLock lock(mu_);
    if (got <= 0) {
      ended_ = true;
      changed_.SignalAll();
      return;
    }
    output_.append(buffer, static_cast<size_t>(got));
    changed_.SignalAll();
  }
}

std::string Process::WaitForLine(const std::string& text, absl::Duration at_most) {
  const absl::Time limit = absl::Now() + at_most;
  MutexLock lock(mu_);
  while (true) {
    const size_t at = output_.find(text);
    if (at != std::string::npos) {
      const size_t end = output_.find('\n', at);
      if (end != std::string::npos) {
        const size_t begin = output_.rfind('\n', at) + 1;  // npos + 1 is 0
        return output_.substr(begin, end - begin);
      }
    }
    if (ended_) return "";
    if (limit == absl::InfiniteFuture()) {
      changed_.Wait(mu_);
    } else if (!changed_.WaitFor(mu_, limit - absl::Now()) && absl::Now() >= limit) {
      return "";
    }
  }
}

bool Process::WaitUntilClosed(absl::Duration at_most) {
  const absl::Time limit = absl::Now() + at_most;
  MutexLock lock(mu_);
  while (!ended_ && absl::Now() < limit) changed_.WaitFor(mu_, limit - absl::Now());
  return ended_;
}

void Process::Signal(int signal_number) { kill(pid_, signal_number); }

int Process::Wait() {
  if (reaped_) return exit_code_;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  {
    // What it wrote last is on its way. A process that it left behind may keep the pipe open: not for ever.
    MutexLock lock(mu_);
    while (!ended_ && changed_.WaitFor(mu_, absl::Seconds(1))) {
    }
  }
  return exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Process::running() const {
  MutexLock lock(mu_);
  return !ended_;
}

std::string Process::output() const {
  MutexLock lock(mu_);
  return output_;
}

}  // namespace penstock::testing
