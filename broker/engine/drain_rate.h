#ifndef PENSTOCK_BROKER_ENGINE_DRAIN_RATE_H_
#define PENSTOCK_BROKER_ENGINE_DRAIN_RATE_H_

#include <cmath>
#include <cstddef>

#include "absl/time/time.h"

namespace penstock::broker {

// How fast the engine takes what waits for it, of late. Only times count in which more waited than was taken: otherwise
// it is the callers who set the pace. Owned by the mailbox, under its lock.
class DrainRate {
 public:
  // At `now` so many bytes were taken; `left`: others still wait.
  void Taken(absl::Duration now, size_t bytes, bool left) {
    if (measuring_) {
      if (now - measured_ > kRemembered) bytes_ = seconds_ = 0;
      measured_ = now;
      const double seconds = absl::ToDoubleSeconds(now - since_);
      const double kept = Kept(seconds);
      bytes_ = bytes_ * kept + working_on_;
      seconds_ = seconds_ * kept + seconds;
    }
    measuring_ = left;
    since_ = now;
    earlier_ = before_;
    before_ = working_on_;
    working_on_ = static_cast<double>(bytes);
  }

  // What may be under way while the engine is busy: one batch is written, one waits, and one is being made.
  double last_three() const { return working_on_ + before_ + earlier_; }

  // Bytes a second; 0: not known yet. A store that has been at the same bytes for long is that slow, whatever it did
  // before.
  double At(absl::Duration now) const {
    // What was true a while ago must not keep anybody out: it would not be measured anew then.
    if (!measuring_ && now - measured_ > kRemembered) return 0;
    double bytes = bytes_;
    double seconds = seconds_;
    if (measuring_) {
      const double running = absl::ToDoubleSeconds(now - since_);
      const double kept = Kept(running);
      const double running_seconds = seconds * kept + running;
      const double running_bytes = bytes * kept + working_on_;
      if (seconds == 0 || running_bytes * seconds < bytes * running_seconds) {
        bytes = running_bytes;
        seconds = running_seconds;
      }
    }
    return seconds < kSecondsMin ? 0 : bytes / seconds;
  }

 private:
  // A second ago counts half.
  static double Kept(double seconds) { return std::exp2(-seconds); }
  // What was seen for less says little.
  static constexpr double kSecondsMin = 0.05;
  static constexpr absl::Duration kRemembered = absl::Seconds(5);

  double bytes_ = 0;
  double seconds_ = 0;
  bool measuring_ = false;
  absl::Duration since_;  // the last Taken
  absl::Duration measured_ = -absl::InfiniteDuration();
  double working_on_ = 0;  // what it took
  double before_ = 0;      // what the one before took
  double earlier_ = 0;     // and the one before that
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_DRAIN_RATE_H_
