#include "broker/rpc/work_stream_outbox.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace penstock::broker {
namespace {

constexpr size_t kFrameBytesMax = 1 << 20;
constexpr size_t kDeliveryOverheadBytes = 64;

template <class T>
void Append(std::vector<T>& to, std::vector<T>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void WorkStreamOutbox::Add(SessionMessage message) {
  pressing_ |= message.welcome || !message.deliveries.empty() || !message.refusals.empty() ||
               !message.cancelled_tasks.empty() || message.drain || message.end;
  refusals_ += message.refusals.size();
  messages_.push_back(std::move(message));
}

void WorkStreamOutbox::AddInvalid(std::vector<v1::Refusal> refusals) {
  refusals_ += refusals.size();
  Append(invalid_, refusals);
}

void WorkStreamOutbox::Clear() {
  messages_.clear();
  invalid_.clear();
  next_delivery_ = 0;
  refusals_ = 0;
  pressing_ = false;
}

WorkStreamOutbox::Frame WorkStreamOutbox::Take() {
  Frame frame;
  SessionMessage& taken = frame.message;
  size_t bytes = 0;
  bool cut = false;
  while (!messages_.empty() && !taken.end && !cut) {
    SessionMessage& front = messages_.front();
    // A worker reads a frame's deliveries before its cancellations: a later delivery must not overtake an earlier
    // cancellation.
    if (!taken.cancelled_tasks.empty() && !front.deliveries.empty()) break;
    if (front.welcome) {
      taken.welcome = std::move(front.welcome);
      front.welcome.reset();
    }
    for (; next_delivery_ < front.deliveries.size(); ++next_delivery_) {
      Delivery& delivery = front.deliveries[next_delivery_];
      const size_t size = delivery.spec.size() + delivery.checkpoint.size() + kDeliveryOverheadBytes;
      cut = !taken.deliveries.empty() && bytes + size > kFrameBytesMax;
      if (cut) break;
      bytes += size;
      taken.deliveries.push_back(std::move(delivery));
    }
    if (cut) break;
    taken.acknowledged_frame = std::max(taken.acknowledged_frame, front.acknowledged_frame);
    Append(taken.refusals, front.refusals);
    Append(taken.cancelled_tasks, front.cancelled_tasks);
    taken.drain |= front.drain;
    taken.end = std::move(front.end);
    messages_.pop_front();
    next_delivery_ = 0;
  }
  frame.invalid = std::exchange(invalid_, {});
  refusals_ -= taken.refusals.size() + frame.invalid.size();
  pressing_ = !messages_.empty();
  return frame;
}

}  // namespace penstock::broker
