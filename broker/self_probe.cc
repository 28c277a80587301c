#include "broker/self_probe.h"

#include <signal.h>

#include <utility>

#include "common/clock.h"
#include "common/logging.h"
#include "common/text.h"

namespace penstock::broker {
namespace {

absl::Duration Elapsed() { return SystemClock().Read().elapsed; }

}  // namespace

SelfProbe::SelfProbe(const Options& options, std::function<absl::Status(absl::Duration time)> probe,
                     std::function<void()> alive)
    : options_(options), probe_(std::move(probe)), alive_(std::move(alive)) {}

void SelfProbe::Start() {
  thread_ = std::thread([this] { Run(); });
}

void SelfProbe::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

SelfProbeFigures SelfProbe::figures() const {
  MutexLock lock(mu_);
  return figures_;
}

void SelfProbe::Run() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (true) {
    const absl::Duration next = Elapsed() + options_.interval;
    const absl::Status answered = probe_(options_.interval);
    Note(answered);
    if (answered.ok() || absl::IsFailedPrecondition(answered)) alive_();
    MutexLock lock(mu_);
    for (absl::Duration left = next - Elapsed(); !stopping_ && left > absl::ZeroDuration(); left = next - Elapsed()) {
      changed_.WaitFor(mu_, left);
    }
    if (stopping_) return;
  }
}

void SelfProbe::Note(const absl::Status& answered) {
  const std::string failure(answered.ok() ? "" : ToStd(answered.message()));
  bool turned = false;
  {
    MutexLock lock(mu_);
    // One that ends while all ends says nothing.
    if (stopping_) return;
    turned = failure.empty() != figures_.failure.empty();
    ++figures_.probes;
    if (!answered.ok()) ++figures_.failed;
    figures_.failure = failure;
  }
  if (!turned) return;
  if (answered.ok()) {
    LogFor("server").info("the broker answers on its own port again");
  } else {
    LogFor("server").error("the broker does not answer on its own port error=\"{}\"", failure);
  }
}

}  // namespace penstock::broker
