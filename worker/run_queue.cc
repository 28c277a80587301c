#include "worker/run_queue.h"

#include <algorithm>
#include <utility>

namespace penstock {

RunQueue::RunQueue(const std::map<std::string, BatchOptions>& batches) {
  for (const auto& [type, options] : batches) {
    Batch& batch = batches_[type];
    batch.max_size = static_cast<size_t>(options.max_size);
    batch.max_wait = options.max_wait;
  }
}

void RunQueue::Add(TaskDelivery task, absl::Duration now) {
  const auto found = batches_.empty() ? batches_.end() : batches_.find(task.type);
  std::deque<Waiting>& waiting = found == batches_.end() ? singles_ : found->second.waiting;
  waiting.push_back({std::move(task), next_order_++, now});
  ++size_;
}

// REQUIRES: something waits.
absl::Duration RunQueue::Batch::DueAt() const {
  const absl::Duration waited = waiting.front().since + max_wait;
  return waiting.size() < max_size ? waited : std::min(waited, waiting[max_size - 1].since);
}

size_t RunQueue::Batch::Size() const { return std::min(waiting.size(), max_size); }

RunQueue::Turn RunQueue::Next(absl::Duration now) const {
  Turn turn;
  uint64_t order = 0;
  if (!singles_.empty()) {
    turn.found = true;
    order = singles_.front().order;
  }
  for (const auto& [type, batch] : batches_) {
    if (batch.waiting.empty() || batch.DueAt() > now) continue;
    if (turn.found && batch.waiting.front().order > order) continue;
    turn = {true, &batch};
    order = batch.waiting.front().order;
  }
  return turn;
}

size_t RunQueue::CountNow(const Turn& turn, int free_slots, absl::Duration now) {
  if (!turn.found || free_slots <= 0) return 0;
  if (turn.batch == nullptr) return 1;
  const size_t size = turn.batch->Size();
  const auto free = static_cast<size_t>(free_slots);
  if (free >= size) return size;
  return now >= turn.batch->DueAt() + turn.batch->max_wait ? free : 0;
}

void RunQueue::Take(int free_slots, absl::Duration now, std::vector<TaskDelivery>* tasks) {
  const Turn turn = Next(now);
  const size_t count = CountNow(turn, free_slots, now);
  if (count == 0) return;
  // Its tasks are all of one type.
  std::deque<Waiting>& waiting =
      turn.batch == nullptr ? singles_ : batches_.find(turn.batch->waiting.front().task.type)->second.waiting;
  for (size_t i = 0; i < count; ++i) {
    tasks->push_back(std::move(waiting.front().task));
    waiting.pop_front();
  }
  size_ -= count;
}

bool RunQueue::Ready(int free_slots, absl::Duration now) const { return CountNow(Next(now), free_slots, now) > 0; }

absl::Duration RunQueue::NextDue(int free_slots, absl::Duration now) const {
  absl::Duration next = absl::InfiniteDuration();
  if (free_slots <= 0) return next;
  // Who waits for slots makes those behind it wait, too; who is not due yet may be older than it.
  if (const Turn turn = Next(now); turn.batch != nullptr) next = turn.batch->DueAt() + turn.batch->max_wait;
  for (const auto& [type, batch] : batches_) {
    if (!batch.waiting.empty() && batch.DueAt() > now) next = std::min(next, batch.DueAt());
  }
  return next;
}

void RunQueue::Clear() {
  singles_.clear();
  for (auto& [type, batch] : batches_) batch.waiting.clear();
  size_ = 0;
}

}  // namespace penstock
