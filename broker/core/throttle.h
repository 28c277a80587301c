#ifndef PENSTOCK_BROKER_CORE_THROTTLE_H_
#define PENSTOCK_BROKER_CORE_THROTTLE_H_

// What a throttle is, for commands, replies and the parts that keep and enforce them (throttles.h, meters.h).
// docs/throttles.md says what it means.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "broker/core/core_types.h"
#include "broker/core/meter.h"

namespace penstock::broker {

// What has a meter of its own. The numbers are stored and equal penstock.v1.ThrottlePer.
enum class ThrottlePer : uint8_t { kAll = 1, kQueue = 2, kType = 3, kGroup = 4, kKey = 5 };

struct ThrottleRate {
  uint32_t tasks = 0;  // units in a period; 0: no rate
  Span period = 0;
  uint32_t burst = 0;  // units that may start at once; 0: as many as `tasks`

  friend bool operator==(const ThrottleRate&, const ThrottleRate&) = default;
};

struct ThrottleDefinition {
  std::vector<std::string> queues;  // empty: all
  std::vector<std::string> types;   // empty: all
  ThrottlePer per = ThrottlePer::kAll;
  uint32_t max_running = 0;  // units that run at once; 0: as many as there are
  ThrottleRate rate;
  std::string note;
};

// Some parts of a definition; the rest stays, or is the default.
struct ThrottleChange {
  std::optional<std::vector<std::string>> queues;
  std::optional<std::vector<std::string>> types;
  std::optional<ThrottlePer> per;
  std::optional<uint32_t> max_running;
  std::optional<ThrottleRate> rate;  // without tasks: none any more
  std::optional<std::string> note;
};

// Whether a definition says something that can be kept. InvalidArgument names the field.
absl::Status Validate(const ThrottleDefinition& definition);

// The bucket that a rate asks for.
inline Bucket MakeBucket(const ThrottleRate& rate) {
  if (rate.tasks == 0) return {};
  return {std::max<int64_t>(rate.period * 1'000 / rate.tasks, 1), rate.burst != 0 ? rate.burst : rate.tasks};
}

enum class MeterState : uint8_t { kOpen = 1, kFull = 2, kRate = 3, kCooled = 4 };

// One of a throttle's meters as operators see it.
struct MeterView {
  // What it is of: a queue or type; of a group or key a task that it counts tells the name, `scope_number` is its
  // NameHash.
  std::string scope;
  uint64_t scope_number = 0;
  TaskId sample;          // empty: none is known
  uint64_t running = 0;   // units
  int64_t available = 0;  // units of its bucket; negative: a debt
  MeterState state = MeterState::kOpen;
  Time opens = 0;        // when it opens by itself, if it is not open and time is all it needs
  uint64_t waiting = 0;  // queues, groups and keys that wait for it
};

struct ThrottleView {
  std::string name;
  ThrottleDefinition definition;
  Time create_time = 0;
  Time update_time = 0;
  uint64_t running = 0;         // units, of all its meters
  uint64_t waiting_meters = 0;  // meters that something waits for
  std::vector<MeterView> meters;
  bool more_meters = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_THROTTLE_H_
