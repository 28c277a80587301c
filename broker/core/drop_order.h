#ifndef PENSTOCK_BROKER_CORE_DROP_ORDER_H_
#define PENSTOCK_BROKER_CORE_DROP_ORDER_H_

#include <cstdint>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "broker/core/core_types.h"
#include "broker/core/lane.h"

namespace penstock::broker {

// Of queues that give up their oldest tasks when they are full: the lanes that may give one, by since when its head has
// waited. FIFO lanes are not among them. Owned by the dispatcher, which hears of every lane that changes.
class DropOrder {
 public:
  // The lane's head has waited since then; kNever: it has none.
  void Set(const Lane& lane, Time since);
  void Remove(const Lane& lane) { Set(lane, kNever); }
  // The queue drops nothing any more, or is deleted.
  void Forget(QueueId queue) { queues_.erase(queue); }

  using Lanes = absl::btree_set<std::pair<Time, LaneId>>;
  // Oldest first.
  const Lanes& Of(QueueId queue) const;

 private:
  struct Queue {
    Lanes lanes;
    absl::flat_hash_map<LaneId, Time> since;
  };
  absl::btree_map<QueueId, Queue> queues_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_DROP_ORDER_H_
