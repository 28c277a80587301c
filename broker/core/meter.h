#ifndef PENSTOCK_BROKER_CORE_METER_H_
#define PENSTOCK_BROKER_CORE_METER_H_

// A meter counts, for a throttle, the tasks of one of its scopes: of one queue, say, where the throttle is per queue.
// Meters exist where something is counted only.

#include <algorithm>
#include <compare>
#include <cstdint>

#include "broker/core/core_types.h"

namespace penstock::broker {

using ThrottleId = Id<struct ThrottleIdTag>;

struct MeterKey {
  ThrottleId throttle;
  uint64_t scope = 0;  // by ThrottlePer: 0, a queue's or type's number, NameHash of a group or key

  friend auto operator<=>(const MeterKey&, const MeterKey&) = default;
};

// Meters that belong to no throttle: a handler asked that what shares its queue, type, group or key be left alone for a
// while. Numbers of throttles are greater.
inline constexpr ThrottleId kCooledQueue{1};
inline constexpr ThrottleId kCooledType{2};
inline constexpr ThrottleId kCooledGroup{3};
inline constexpr ThrottleId kCooledKey{4};
inline constexpr uint64_t kThrottleIdsBegin = 256;

// What a meter keeps beyond a restart.
struct MeterTimes {
  // When its bucket is full again, in nanoseconds since 1970: all that a token bucket needs (the virtual scheduling
  // algorithm of ITU-T I.371, annex A).
  int64_t full = 0;
  Time cooled_until = 0;

  // It says nothing any more.
  bool is_over(Time now) const { return full <= now * 1'000 && cooled_until <= now; }
  friend bool operator==(const MeterTimes&, const MeterTimes&) = default;
};

// A token bucket: a unit every `interval` nanoseconds, `burst` at most. A task that costs more than the burst needs a
// full bucket, and leaves a debt.
struct Bucket {
  int64_t interval = 0;  // 0: there is none, everything passes
  uint32_t burst = 1;

  // The moment from which on `cost` units are there.
  Time AvailableAt(int64_t full, uint32_t cost) const {
    const int64_t unneeded = static_cast<int64_t>(burst) - std::min(cost, burst);
    const int64_t nanos = full - unneeded * interval;
    return nanos <= 0 ? 0 : (nanos + 999) / 1'000;
  }
  // When it is full again after `cost` units were taken.
  int64_t Take(int64_t full, Time now, uint32_t cost) const {
    return std::max(full, now * 1'000) + static_cast<int64_t>(cost) * interval;
  }
  // Units that are there; negative: a debt.
  int64_t Available(int64_t full, Time now) const {
    const int64_t lacking = std::max<int64_t>(full - now * 1'000, 0);
    return static_cast<int64_t>(burst) - (lacking + interval - 1) / interval;
  }
};

// Who waits for a meter: all tasks of a queue, type and priority, or one lane.
struct Parked {
  LaneId lane;  // empty: a class
  QueueId queue;
  TypeId type;
  int urgency = 0;

  friend auto operator<=>(const Parked&, const Parked&) = default;
};

// How a task is counted.
struct TaskPlace {
  QueueId queue;
  TypeId type;         // its base type
  uint64_t group = 0;  // NameHash; 0: none
  uint64_t key = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_METER_H_
