#ifndef PENSTOCK_BROKER_ENGINE_CORE_CLOCK_H_
#define PENSTOCK_BROKER_ENGINE_CORE_CLOCK_H_

#include <cstdint>

#include "absl/time/time.h"
#include "broker/core/core_types.h"
#include "common/clock.h"

namespace penstock::broker {

// Time as the core sees it. Elapsed time is without what the broker itself lost (stopped, swapped, a slow disk), which
// counts against nobody's lease; and a moment has come only when all that workers said before it was applied: a renewal
// may still lie in the mailbox. Owned by the Engine, its thread's alone; the simulation has one, too.
class CoreClock {
 public:
  CoreClock() = default;
  explicit CoreClock(const Now& now) : last_elapsed_(now.elapsed) {}

  // So much was spent otherwise than asleep as intended: only a little of it counts as elapsed.
  void Lost(absl::Duration time) {
    if (time > kLostTime) last_elapsed_ += time - kLostTime;
  }

  // `taken` commands of workers were taken out of the mailbox so far, and `put` were put into it.
  CoreNow Read(const Now& now, uint64_t taken, uint64_t put) {
    elapsed_ += now.elapsed - last_elapsed_;
    last_elapsed_ = now.elapsed;
    if (taken >= mark_count_) {
      core_elapsed_ = ToMicros(mark_elapsed_);
      mark_count_ = put;
      mark_elapsed_ = elapsed_;
      if (taken == mark_count_) core_elapsed_ = ToMicros(elapsed_);  // nothing waits
    }
    return {ToMicros(now.wall), core_elapsed_, ToMicros(elapsed_) - core_elapsed_};
  }

 private:
  // A turn of the engine that took longer than this was not the workers' fault.
  static constexpr absl::Duration kLostTime = absl::Milliseconds(250);

  absl::Duration last_elapsed_;
  absl::Duration elapsed_;  // without what was lost
  // When so many commands of workers are applied, it is at least so late for the core.
  uint64_t mark_count_ = 0;
  absl::Duration mark_elapsed_;
  Span core_elapsed_ = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_CORE_CLOCK_H_
