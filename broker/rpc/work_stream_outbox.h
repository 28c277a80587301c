#ifndef PENSTOCK_BROKER_RPC_WORK_STREAM_OUTBOX_H_
#define PENSTOCK_BROKER_RPC_WORK_STREAM_OUTBOX_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "broker/core/effects.h"
#include "penstock/v1/worker_service.pb.h"

namespace penstock::broker {

// What waits to be sent to a worker. Frames are taken from its front: many things in one, cut at 1 MiB or one delivery.
// Its deliveries are bounded by the worker's credit, its refusals by the stream, which stops reading when full().
// Guarded by its stream.
class WorkStreamOutbox {
 public:
  // A frame, before it is put into a message.
  struct Frame {
    SessionMessage message;
    std::vector<v1::Refusal> invalid;

    bool empty() const {
      return !message.welcome && message.deliveries.empty() && message.acknowledged_frame == 0 &&
             message.refusals.empty() && message.cancelled_tasks.empty() && !message.drain && invalid.empty();
    }
  };

  void Add(SessionMessage message);
  void AddInvalid(std::vector<v1::Refusal> refusals);
  void Clear();

  bool empty() const { return messages_.empty() && invalid_.empty(); }
  // There is nothing but acknowledgements, and few of them.
  bool may_wait() const { return !pressing_ && invalid_.empty() && messages_.size() < kAcknowledgementsMax; }
  // The worker sends, but does not take the answers.
  bool full() const { return refusals_ >= kRefusalsMax; }

  // The next frame. A frame with an end is the last; it may have nothing else.
  Frame Take();

 private:
  static constexpr size_t kRefusalsMax = 10'000;
  static constexpr size_t kAcknowledgementsMax = 16;

  std::deque<SessionMessage> messages_;
  size_t next_delivery_ = 0;  // of the front message; those before it have been taken
  std::vector<v1::Refusal> invalid_;
  size_t refusals_ = 0;
  bool pressing_ = false;  // a message has more than an acknowledgement
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WORK_STREAM_OUTBOX_H_
