#include "broker/rpc/rate_meter.h"

#include <utility>

namespace penstock::broker {
namespace {

constexpr absl::Duration kWindow = absl::Seconds(10);
constexpr absl::Duration kShortestStep = absl::Milliseconds(500);

}  // namespace

void RateMeter::Sample(const StatusReply& status, const Now& now) {
  Moment moment;
  moment.elapsed = now.elapsed;
  moment.queues.reserve(status.queues.size());
  for (const QueueView& queue : status.queues) {
    const QueueCounters& counters = queue.counters;
    const Totals totals = {counters.enqueued_total,
                           counters.completed_total + counters.cancelled_total + counters.dead_total};
    moment.queues.emplace(queue.id, totals);
    moment.all.enqueued += totals.enqueued;
    moment.all.finished += totals.finished;
  }
  MutexLock lock(mu_);
  if (!moments_.empty() && now.elapsed - moments_.back().elapsed < kShortestStep) return;
  moments_.push_back(std::move(moment));
  // The oldest stays until the next is old enough to stand for the window.
  while (moments_.size() > 2 && now.elapsed - moments_[1].elapsed >= kWindow) moments_.pop_front();
}

Rates RateMeter::OfQueue(QueueId queue) const {
  MutexLock lock(mu_);
  if (moments_.size() < 2) return {};
  auto now = moments_.back().queues.find(queue);
  if (now == moments_.back().queues.end()) return {};
  auto then = moments_.front().queues.find(queue);
  // A queue that was not there yet had counted nothing.
  return Between(then == moments_.front().queues.end() ? Totals{} : then->second, now->second);
}

Rates RateMeter::OfAll() const {
  MutexLock lock(mu_);
  if (moments_.size() < 2) return {};
  return Between(moments_.front().all, moments_.back().all);
}

Rates RateMeter::Between(const Totals& then, const Totals& now) const {
  const double seconds = absl::ToDoubleSeconds(moments_.back().elapsed - moments_.front().elapsed);
  // Totals shrink when a queue is deleted.
  auto rate = [seconds](uint64_t before, uint64_t after) {
    return after <= before ? 0 : static_cast<double>(after - before) / seconds;
  };
  return {rate(then.enqueued, now.enqueued), rate(then.finished, now.finished)};
}

}  // namespace penstock::broker
