#include "broker/scrubber.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/text.h"
#include "common/units.h"

namespace penstock::broker {
namespace {

absl::Duration Elapsed() { return SystemClock().Read().elapsed; }

}  // namespace

Scrubber::Scrubber(const ScrubberOptions& options)
    : options_(options),
      due_(Elapsed() + std::min(options.interval, options.first_after)),
      thread_([this] { Run(); }) {}

void Scrubber::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    if (pace_ != nullptr) pace_->Stop();
  }
  changed_.SignalAll();
  if (thread_.joinable()) thread_.join();
}

void Scrubber::SetStore(Store* store) {
  MutexLock lock(mu_);
  store_ = nullptr;
  if (pace_ != nullptr) pace_->Stop();
  while (pace_ != nullptr) changed_.Wait(mu_);
  store_ = store;
  changed_.SignalAll();
}

void Scrubber::ScrubNow() {
  MutexLock lock(mu_);
  if (pace_ == nullptr) asked_ = true;
  changed_.SignalAll();
}

ScrubFigures Scrubber::figures() const {
  MutexLock lock(mu_);
  return figures_;
}

void Scrubber::Run() {
  while (Store* const store = Begin()) {
    std::shared_ptr<ScrubPace> pace;
    {
      MutexLock lock(mu_);
      pace = pace_;
    }
    const absl::Duration start = Elapsed();
    const absl::StatusOr<ScrubResult> result = ScrubStore(*store, *pace);
    End(result, Elapsed() - start);
  }
}

Store* Scrubber::Begin() {
  MutexLock lock(mu_);
  while (!stopping_) {
    const bool by_time = options_.interval > absl::ZeroDuration();
    const absl::Duration left = due_ - Elapsed();
    if (store_ != nullptr && (asked_ || (by_time && left <= absl::ZeroDuration()))) {
      asked_ = false;
      pace_ = std::make_shared<ScrubPace>(options_.bytes_per_second);
      figures_.running = true;
      return store_;
    }
    if (by_time && store_ != nullptr) {
      changed_.WaitFor(mu_, left);
    } else {
      changed_.Wait(mu_);
    }
  }
  return nullptr;
}

void Scrubber::End(const absl::StatusOr<ScrubResult>& result, absl::Duration took) {
  MutexLock lock(mu_);
  pace_ = nullptr;
  figures_.running = false;
  changed_.SignalAll();
  // Stopped in the middle: what was due is due again.
  asked_ = asked_ || absl::IsCancelled(result.status());
  if (absl::IsCancelled(result.status())) return;
  due_ = Elapsed() + options_.interval;
  if (!result.ok()) {
    LogFor("scrub").error("scrub failed error=\"{}\"", ToStd(result.status().message()));
    return;
  }
  ++figures_.scrubs;
  figures_.last_end = absl::Now();
  figures_.last_duration = took;
  figures_.last_files = result->files;
  figures_.last_bytes = result->bytes;
  figures_.damage = result->damage;
  for (const std::string& damage : result->damage) LogFor("scrub").error("stored data is damaged: {}", damage);
  LogFor("scrub").info("scrub ended files={} bytes={} damaged={} took={}", result->files, result->bytes,
                       result->damage.size(), penstock::FormatDuration(took));
}

}  // namespace penstock::broker
