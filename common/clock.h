#ifndef PENSTOCK_COMMON_CLOCK_H_
#define PENSTOCK_COMMON_CLOCK_H_

#include "absl/time/time.h"
#include "common/mutex.h"

namespace penstock {

// Two readings of one moment: wall time for what is stored (run_at, cron, retention), elapsed time for intervals
// (leases, backoff). Elapsed time counts from an arbitrary start, never goes back, and does not jump.
struct Now {
  absl::Time wall;
  absl::Duration elapsed;
};

// Any thread may ask.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Now Read() const = 0;
};

// The machine's clocks (CLOCK_REALTIME, CLOCK_BOOTTIME). Lives for ever.
Clock& SystemClock();

// Stands still until it is moved.
class ManualClock : public Clock {
 public:
  explicit ManualClock(absl::Time wall = absl::FromUnixSeconds(1'800'000'000)) : now_{wall, absl::ZeroDuration()} {}
  Now Read() const override {
    MutexLock lock(mu_);
    return now_;
  }
  // Moves both readings.
  void Advance(absl::Duration by) {
    MutexLock lock(mu_);
    now_.wall += by;
    now_.elapsed += by;
  }

 private:
  mutable Mutex mu_;
  Now now_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_COMMON_CLOCK_H_
