#ifndef PENSTOCK_BROKER_CORE_QUEUE_TIMES_H_
#define PENSTOCK_BROKER_CORE_QUEUE_TIMES_H_

#include <algorithm>
#include <array>
#include <cstdint>

#include "broker/core/core_types.h"

namespace penstock::broker {

// Upper bounds of the histograms of times; the last bucket has none. From the fastest handler to the longest usual job.
inline constexpr std::array<Span, 16> kTimeBounds = {
    kMilli,       2 * kMilli, 5 * kMilli,  10 * kMilli,  25 * kMilli, 50 * kMilli, 100 * kMilli, 250 * kMilli,
    500 * kMilli, kSecond,    5 * kSecond, 30 * kSecond, kMinute,     5 * kMinute, 30 * kMinute, kHour};

struct TimeCounts {
  std::array<uint64_t, kTimeBounds.size() + 1> counts{};  // not cumulative
  Span sum = 0;

  void Add(Span time) {
    time = std::max<Span>(time, 0);
    ++counts[static_cast<size_t>(std::lower_bound(kTimeBounds.begin(), kTimeBounds.end(), time) - kTimeBounds.begin())];
    sum += time;
  }
};

// What metrics tell of a queue beside its counters. Since the broker started: never stored, and decides nothing.
struct QueueTimes {
  TimeCounts wait;             // from available to started
  TimeCounts run;              // of attempts, as the worker measured them
  uint64_t attempts_lost = 0;  // with their worker
  uint64_t refused = 0;        // tasks, because the queue was full
  uint64_t dropped = 0;        // tasks that were given up for others, because it was full
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_QUEUE_TIMES_H_
