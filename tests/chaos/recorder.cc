#include "tests/chaos/recorder.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace penstock::chaos {
namespace {

int64_t Read(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000 + time.tv_nsec / 1'000;
}

}  // namespace

HistoryClock::HistoryClock() : offset_(Read(CLOCK_REALTIME) - Read(CLOCK_BOOTTIME)) {}

int64_t HistoryClock::Now() const { return Read(CLOCK_BOOTTIME) + offset_; }

Recorder::Recorder(const std::string& path, const HistoryClock& clock) : clock_(clock) {
  MutexLock lock(mu_);
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    std::perror(path.c_str());
    std::abort();
  }
}

Recorder::~Recorder() {
  MutexLock lock(mu_);
  close(fd_);
}

void Recorder::Write(histcheck::Event line) {
  MutexLock lock(mu_);
  line.t = clock_.Now();
  const std::string text = histcheck::ToJson(line) + "\n";
  // A history with holes would accuse the broker of what it did not do.
  if (write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    std::perror("the history cannot be written");
    std::abort();
  }
}

}  // namespace penstock::chaos
