#ifndef PENSTOCK_BROKER_RPC_RATE_METER_H_
#define PENSTOCK_BROKER_RPC_RATE_METER_H_

#include <cstdint>
#include <deque>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "broker/core/effects.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace penstock::broker {

// Tasks a second.
struct Rates {
  double enqueue = 0;
  double finish = 0;  // completed, cancelled or dead
};

// How fast tasks come and go, from the totals that it was shown during about the last 10 s. The server shows it the
// status once a second. Any thread.
class RateMeter {
 public:
  // The totals as they are at `now`. Samples that come sooner than half a second after the last are left out.
  void Sample(const StatusReply& status, const Now& now);

  // 0 as long as there are no two samples.
  Rates OfQueue(QueueId queue) const;
  Rates OfAll() const;

 private:
  struct Totals {
    uint64_t enqueued = 0;
    uint64_t finished = 0;
  };
  struct Moment {
    absl::Duration elapsed;
    absl::flat_hash_map<QueueId, Totals> queues;
    Totals all;
  };

  Rates Between(const Totals& then, const Totals& now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  std::deque<Moment> moments_ ABSL_GUARDED_BY(mu_);  // oldest first
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_RATE_METER_H_
