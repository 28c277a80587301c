#ifndef PENSTOCK_BROKER_CORE_THROTTLE_RULES_H_
#define PENSTOCK_BROKER_CORE_THROTTLE_RULES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "broker/core/core_state.h"
#include "broker/core/meter.h"
#include "broker/core/throttle.h"

namespace penstock::broker {

// A throttle as dispatch needs it.
struct ThrottleRule {
  ThrottleId id;
  std::string name;
  ThrottlePer per = ThrottlePer::kAll;
  uint32_t max_running = 0;
  Bucket bucket;

  // The meter that counts a task; false: the task has none, since it is in no group, or has no key.
  bool KeyOf(const TaskPlace& place, MeterKey* key) const {
    key->throttle = id;
    switch (per) {
      case ThrottlePer::kAll:
        key->scope = 0;
        return true;
      case ThrottlePer::kQueue:
        key->scope = place.queue.value();
        return true;
      case ThrottlePer::kType:
        key->scope = place.type.value();
        return true;
      case ThrottlePer::kGroup:
        key->scope = place.group;
        return place.group != 0;
      case ThrottlePer::kKey:
        key->scope = place.key;
        return place.key != 0;
    }
    return false;
  }
};

// Which throttles count which tasks.
class ThrottleRules {
 public:
  explicit ThrottleRules(CoreState& state) : state_(state) {}

  bool empty() const { return rules_.empty(); }
  const ThrottleRule* Find(ThrottleId id) const;
  std::vector<ThrottleId> ids() const;
  void Set(ThrottleId id, const std::string& name, const ThrottleDefinition& definition);
  void Remove(ThrottleId id);
  // Those that count tasks of a queue and type, in the order of their making.
  absl::Span<const ThrottleRule* const> Of(QueueId queue, TypeId type) const;

 private:
  struct Rule {
    ThrottleRule rule;
    std::vector<std::string> queues;
    std::vector<std::string> types;
  };
  CoreState& state_;
  absl::btree_map<ThrottleId, std::unique_ptr<Rule>> rules_;
  mutable absl::flat_hash_map<std::pair<QueueId, TypeId>, std::vector<const ThrottleRule*>> matches_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_THROTTLE_RULES_H_
