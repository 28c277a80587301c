#include "common/clock.h"

#include <time.h>

#include "absl/time/clock.h"

namespace penstock {
namespace {

class RealClock : public Clock {
 public:
  Now Read() const override {
    timespec elapsed;
    clock_gettime(CLOCK_BOOTTIME, &elapsed);
    return {absl::Now(), absl::DurationFromTimespec(elapsed)};
  }
};

}  // namespace

Clock& SystemClock() {
  static RealClock& clock = *new RealClock;
  return clock;
}

}  // namespace penstock
