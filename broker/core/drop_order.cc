#include "broker/core/drop_order.h"

namespace penstock::broker {

void DropOrder::Set(const Lane& lane, Time since) {
  auto found = queues_.find(lane.key.queue);
  if (found == queues_.end()) {
    if (since == kNever) return;
    found = queues_.try_emplace(lane.key.queue).first;
  }
  Queue& queue = found->second;
  if (auto known = queue.since.find(lane.id); known != queue.since.end()) {
    if (known->second == since) return;
    queue.lanes.erase({known->second, lane.id});
    queue.since.erase(known);
  }
  if (since == kNever) return;
  queue.since[lane.id] = since;
  queue.lanes.insert({since, lane.id});
}

const DropOrder::Lanes& DropOrder::Of(QueueId queue) const {
  static const Lanes kNone;
  auto found = queues_.find(queue);
  return found == queues_.end() ? kNone : found->second.lanes;
}

}  // namespace penstock::broker
