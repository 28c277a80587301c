#include "tests/support/effect_recorder.h"

#include <utility>

namespace penstock::broker {

void EffectRecorder::Release(Effects effects) {
  std::function<void(const Effects&)> observer;
  {
    MutexLock lock(mu_);
    observer = observer_;
  }
  if (observer) observer(effects);
  const size_t commits = store_.commits();
  const size_t durable_commits = store_.durable_commits();
  MutexLock lock(mu_);
  ++releases_;
  for (Reply& reply : effects.replies) {
    order_.push_back(reply.ticket);
    const Ticket ticket = reply.ticket;
    answers_.try_emplace(ticket, Answer{std::move(reply), releases_, commits, durable_commits});
  }
  for (SessionMessage& message : effects.session_messages) {
    for (const Delivery& delivery : message.deliveries) {
      deliveries_.push_back({message.stream, delivery.task, delivery.token, std::string(delivery.spec)});
    }
    if (message.welcome) welcomes_[message.stream] = *message.welcome;
    if (message.end) ends_[message.stream] = *message.end;
  }
  for (WatchEvent& event : effects.watch_events) {
    const Ticket ticket = event.ticket;
    watch_events_[ticket] = std::move(event);
  }
  changed_.SignalAll();
}

void EffectRecorder::SetObserver(std::function<void(const Effects&)> observer) {
  MutexLock lock(mu_);
  observer_ = std::move(observer);
}

EffectRecorder::Answer EffectRecorder::Await(Ticket ticket) {
  MutexLock lock(mu_);
  while (!answers_.contains(ticket)) changed_.Wait(mu_);
  return answers_[ticket];
}

std::vector<EffectRecorder::Delivered> EffectRecorder::AwaitDeliveries(size_t count) {
  MutexLock lock(mu_);
  while (deliveries_.size() < count) changed_.Wait(mu_);
  return deliveries_;
}

SessionWelcome EffectRecorder::AwaitWelcome(Ticket stream) {
  MutexLock lock(mu_);
  while (!welcomes_.contains(stream)) changed_.Wait(mu_);
  return welcomes_[stream];
}

absl::Status EffectRecorder::AwaitEnd(Ticket stream) {
  MutexLock lock(mu_);
  while (!ends_.contains(stream)) changed_.Wait(mu_);
  return ends_[stream];
}

WatchEvent EffectRecorder::AwaitWatchEvent(Ticket ticket) {
  MutexLock lock(mu_);
  while (!watch_events_.contains(ticket)) changed_.Wait(mu_);
  return watch_events_[ticket];
}

std::vector<Ticket> EffectRecorder::order() const {
  MutexLock lock(mu_);
  return order_;
}

size_t EffectRecorder::releases() const {
  MutexLock lock(mu_);
  return releases_;
}

std::vector<EffectRecorder::Delivered> EffectRecorder::deliveries() const {
  MutexLock lock(mu_);
  return deliveries_;
}

}  // namespace penstock::broker
