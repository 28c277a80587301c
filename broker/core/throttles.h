#ifndef PENSTOCK_BROKER_CORE_THROTTLES_H_
#define PENSTOCK_BROKER_CORE_THROTTLES_H_

#include <string>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "broker/core/core_context.h"
#include "broker/core/lifecycle.h"
#include "broker/core/meters.h"
#include "broker/core/throttle.h"
#include "broker/core/throttle_rules.h"

namespace penstock::broker {

// Throttles as operators make, change and see them. Stored in records of their own. What they count and hold back is
// the work of meters.h.
class Throttles {
 public:
  Throttles(CoreContext& context, Lifecycle& lifecycle)
      : context_(context), rules_(context.state), meters_(context, lifecycle, rules_) {}

  // After a recovery of everything else.
  absl::Status Restore(const StoreReader& store);

  void Apply(const ThrottleCommand& command);
  void Answer(const ListThrottlesCommand& command);

  Meters& meters() { return meters_; }

 private:
  struct Throttle {
    ThrottleId id;
    ThrottleView view;  // without what its meters tell
    std::string newer_record;
  };

  absl::Status Change(const ThrottleCommand& command, ThrottleReply* reply);
  // All or nothing. `throttle` may be a new one.
  absl::Status Update(const ThrottleChange& change, Throttle* throttle);
  ThrottleId NewId();
  // With a task for each group or key, so that the edge can tell its name.
  ThrottleView Describe(const Throttle& throttle, size_t max_meters);
  void FindSamples(const Throttle& throttle, ThrottleView* view);

  CoreContext& context_;
  ThrottleRules rules_;
  Meters meters_;
  absl::btree_map<std::string, Throttle, std::less<>> throttles_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_THROTTLES_H_
