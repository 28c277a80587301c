#ifndef PENSTOCK_CLIENT_RETRY_BUDGET_H_
#define PENSTOCK_CLIENT_RETRY_BUDGET_H_

#include <algorithm>

#include "absl/time/time.h"

namespace penstock {

// How often a client may repeat what a busy broker refused: once for ten new calls, and once a second beside that.
// Without it, repetitions of many clients would keep an overloaded broker overloaded. A repetition that the broker
// takes costs nothing, so a client is soon done with them once there is room. A few may be saved up. Guarded by its
// owner's lock.
class RetryBudget {
 public:
  // A new call.
  void OnCall() { Add(kPerCall); }
  // Whether a repetition may be made now; it is paid for then. If not, ask again in UntilNext.
  bool Take(absl::Time now) {
    Accrue(now);
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }
  // A repetition was not refused again.
  void OnTaken() { Add(1); }
  // At the latest so long after a Take that was in vain there is one.
  absl::Duration UntilNext() const { return absl::Seconds(std::max(0.0, 1 - tokens_) / kPerSecond); }

 private:
  static constexpr double kPerCall = 0.1;
  static constexpr double kPerSecond = 1;
  static constexpr double kSaved = 10;

  void Add(double tokens) { tokens_ = std::min(tokens_ + tokens, kSaved); }
  void Accrue(absl::Time now) {
    if (now > last_) Add(absl::ToDoubleSeconds(now - last_) * kPerSecond);
    last_ = now;
  }

  double tokens_ = kSaved;
  absl::Time last_ = absl::InfiniteFuture();  // of Accrue
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_RETRY_BUDGET_H_
