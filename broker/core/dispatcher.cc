#include "broker/core/dispatcher.h"

#include <algorithm>

#include "broker/core/waiting_bytes.h"
#include "broker/storage/labels.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Dealt out in one batch at most, so that a batch stays small enough to commit quickly.
constexpr uint32_t kTasksPerRun = 8'192;
constexpr size_t kBytesPerRun = 4 << 20;
// Given to a session in one go when no other priority or session waits.
constexpr uint32_t kChunk = 256;
// And where groups share the queue.
constexpr uint64_t kSharedChunk = 4;
constexpr size_t kUnhandledShown = 10;
// Of those who wait for a throttle; a bound for lanes that time or an operator lets go all at once.
constexpr int kUnparkedPerRun = 256;

// 0: it has a free slot; 1: it would prefetch.
int TierOf(const Session& session, uint32_t running) { return running < session.concurrency ? 0 : 1; }

}  // namespace

// --- subscriptions ---

void Dispatcher::SessionConnected(Session* session) {
  std::vector<std::string> queues = session->queues;
  std::vector<std::string> types;
  for (const HandledType& type : session->types) types.push_back(type.type);
  std::sort(queues.begin(), queues.end());
  std::sort(types.begin(), types.end());
  const std::string labels = LabelText(session->labels);
  const std::string key = fmt::format("{}|{}|{}", fmt::join(queues, ","), fmt::join(types, ","), labels);
  std::unique_ptr<Subscription>& subscription = subscriptions_[key];
  const bool added = subscription == nullptr;
  if (added) {
    subscription = std::make_unique<Subscription>();
    subscription->id = next_subscription_++;
    subscription->queues = {queues.begin(), queues.end()};
    subscription->types = {types.begin(), types.end()};
    for (std::string_view label : SplitLabels(labels)) subscription->labels.emplace(label);
  }
  session->subscription = subscription.get();
  ++subscription->sessions;
  if (added) ready_.Add(subscription.get());
  SessionChanged(session);
}

void Dispatcher::SessionEnds(Session* session) {
  workers_counted_ = false;
  Delist(session);
  Subscription* subscription = session->subscription;
  session->subscription = nullptr;
  if (subscription == nullptr || --subscription->sessions > 0) return;
  ready_.Remove(subscription);
  for (auto it = subscriptions_.begin(); it != subscriptions_.end(); ++it) {
    if (it->second.get() != subscription) continue;
    subscriptions_.erase(it);
    return;
  }
}

void Dispatcher::SessionChanged(Session* session) {
  workers_counted_ = false;
  Delist(session);
  Enlist(session);
}

Unwilling Dispatcher::WhyNot(const Session& session, uint32_t running) const {
  if (!session.connected() || session.subscription == nullptr) return Unwilling::kAway;
  if (session.draining) return Unwilling::kDraining;
  if (session.credit == 0) return Unwilling::kNoCredit;
  return running >= context_.options.max_tasks_per_worker ? Unwilling::kManyTasks : Unwilling::kNo;
}

Unwilling Dispatcher::WhyNot(const Session& session, int tier, QueueId queue, TypeId type) const {
  if (tier > 0 && meters_.Counted(queue, type)) return Unwilling::kNoFreeSlot;
  if (session.type_credits.empty()) return Unwilling::kNo;
  auto limited = session.type_credits.find(ToAbsl(context_.state.TypeName(type)));
  return limited != session.type_credits.end() && limited->second == 0 ? Unwilling::kNoTypeCredit : Unwilling::kNo;
}

Unwilling Dispatcher::WhyNot(const Session& session, QueueId queue, TypeId type) const {
  const uint32_t running = context_.state.LeasesOf(session.number).count;
  if (const Unwilling why = WhyNot(session, running); why != Unwilling::kNo) return why;
  return WhyNot(session, TierOf(session, running), queue, type);
}

void Dispatcher::Enlist(Session* session) {
  if (stopped_) return;
  const uint32_t running = context_.state.LeasesOf(session->number).count;
  if (WhyNot(*session, running) != Unwilling::kNo) return;
  session->tier = TierOf(*session, running);
  session->load = running;
  session->turn = next_turn_++;
  session->subscription->takers.insert({session->tier, session->load, session->turn, session->number});
  if (session->tier == 0) ++session->subscription->free_takers;
}

void Dispatcher::Delist(Session* session) {
  if (session->turn == 0) return;
  session->subscription->takers.erase({session->tier, session->load, session->turn, session->number});
  if (session->tier == 0) --session->subscription->free_takers;
  session->turn = 0;
}

// --- lanes ---

void Dispatcher::Restore() {
  for (const auto& [id, lane] : context_.state.lanes()) Refresh(lane.get());
}

void Dispatcher::Refresh(Lane* lane) {
  const auto head = deliverer_.HeadOf(lane);
  if (head) {
    ready_.Put(lane, head->type, head->priority, head->since);
  } else {
    ready_.Remove(lane);
  }
  if (lane->queue->settings.drop_oldest && !lane->key.fifo) drop_order_.Set(*lane, head ? head->since : kNever);
}

void Dispatcher::RefreshChanged(QueueId only) {
  // By index: refreshing may note further changes.
  for (size_t i = 0; i < context_.state.changes().lanes.size(); ++i) {
    const auto& change = context_.state.changes().lanes[i];
    if (!only.empty() && change.key.queue != only) continue;
    if (Lane* lane = context_.state.FindLane(change.lane)) Refresh(lane);
  }
}

void Dispatcher::RefreshQueue(const QueueState& queue) {
  ready_.RefreshBlocked(queue);
  ready_.SetWeights(queue);
  drop_order_.Forget(queue.id);
  if (!queue.settings.drop_oldest) return;
  for (LaneId id : queue.lanes) Refresh(context_.state.FindLane(id));
}

void Dispatcher::Drop(Lane* lane) {
  ready_.Remove(lane);
  drop_order_.Remove(*lane);
}

// --- making room ---

bool Dispatcher::CanDrop(const QueueState& queue, uint64_t tasks, uint64_t bytes) {
  RefreshChanged(queue.id);
  uint64_t found_tasks = 0;
  uint64_t found_bytes = 0;
  for (const auto& [since, id] : drop_order_.Of(queue.id)) {
    const Lane* lane = context_.state.FindLane(id);
    found_tasks += lane->fresh_count + lane->timed_due();
    if (found_bytes < bytes) {
      VisitWaiting(context_, lifecycle_, *lane, true, [&](TaskId task, uint64_t size) {
        if (queue.counts_bytes_of(task)) found_bytes += size;
        return found_bytes < bytes;
      });
    }
    if (found_tasks >= tasks && found_bytes >= bytes) return true;
  }
  return found_tasks >= tasks && found_bytes >= bytes;
}

void Dispatcher::DropOldest(QueueState* queue, uint64_t tasks, uint64_t bytes) {
  const uint64_t tasks_before = queue->waiting();
  const uint64_t bytes_before = queue->waiting_bytes;
  while (tasks_before - queue->waiting() < tasks || bytes_before - queue->waiting_bytes < bytes) {
    const DropOrder::Lanes& lanes = drop_order_.Of(queue->id);
    if (lanes.empty()) return;  // only after damage: CanDrop has found them
    const LaneId oldest = lanes.begin()->second;
    Lane* lane = context_.state.FindLane(oldest);
    // Those at its front may have left it out of turn (cancelled, expired, changed): since when the first of the others
    // has waited shows only once they are looked at.
    (void)deliverer_.FirstOf(lane);
    Refresh(lane);
    if (lanes.empty() || lanes.begin()->second != oldest) continue;
    deliverer_.DropHead(lane);
    Refresh(lane);
  }
}

// --- dealing out ---

void Dispatcher::Prepare() { RefreshChanged(QueueId()); }

bool Dispatcher::Run() {
  workers_counted_ = false;
  Prepare();
  if (stopped_) return true;
  const uint64_t taken_before = deliverer_.taken();
  deliverer_.set_bytes_limit(context_.delivered_bytes + kBytesPerRun);
  meters_.Wake();
  Unpark();
  int unparked = 0;
  bool progress = true;
  while (progress) {
    progress = false;
    for (const auto& [key, subscription] : subscriptions_) {
      if (ServeOne(subscription.get())) progress = true;
    }
    if (deliverer_.taken() - taken_before >= kTasksPerRun || deliverer_.full()) return !progress;
    if (!progress && Unpark()) {
      if (++unparked == kUnparkedPerRun) return false;
      progress = true;
    }
  }
  return true;
}

bool Dispatcher::Unpark() {
  return meters_.Unpark([this](const Parked& waiter) {
    if (waiter.lane.empty()) {
      ready_.SetParked(waiter.queue, waiter.type, waiter.urgency, false);
    } else if (Lane* lane = context_.state.FindLane(waiter.lane)) {
      Refresh(lane);
    }
  });
}

Lane* Dispatcher::FirstOpen(const Subscription& subscription, int urgency, ReadyIndex::Takes takes) {
  while (Lane* lane = ready_.First(subscription, urgency, takes)) {
    if (!meters_.any()) return lane;
    const LaneClass& lane_class = *lane->ready->owner;
    const MeterVerdict verdict = meters_.Check(deliverer_.PlaceOf(*lane, lane_class.type), 0);
    if (verdict.open()) return lane;
    if (verdict.whole_class) {
      meters_.Wait(verdict, {LaneId(), lane_class.queue, lane_class.type, lane_class.urgency});
      ready_.SetParked(lane_class.queue, lane_class.type, lane_class.urgency, true);
    } else {
      meters_.Wait(verdict, {lane->id, QueueId(), TypeId(), 0});
      ready_.Remove(lane);
    }
  }
  return nullptr;
}

bool Dispatcher::Takes(const Session& session, const LaneClass& lane_class) const {
  return WhyNot(session, session.tier, lane_class.queue, lane_class.type) == Unwilling::kNo;
}

Lane* Dispatcher::ChooseLane(Subscription* subscription, const Session& session, bool* lower_turn) {
  *lower_turn = false;
  auto takes = [&](const LaneClass& lane_class) { return Takes(session, lane_class); };
  Lane* first = nullptr;
  int urgency = 0;
  for (; urgency < kUrgencies; ++urgency) {
    first = FirstOpen(*subscription, urgency, takes);
    if (first != nullptr) break;
  }
  if (first == nullptr || subscription->burst < context_.options.priority_burst) return first;
  // The turn of lower priorities: of their first lanes the one that has waited longest.
  *lower_turn = subscription->burst > 0;
  subscription->burst = 0;
  Lane* oldest = nullptr;
  while (++urgency < kUrgencies) {
    Lane* lower = FirstOpen(*subscription, urgency, takes);
    if (lower != nullptr && (oldest == nullptr || lower->ready_since < oldest->ready_since)) oldest = lower;
  }
  return oldest != nullptr ? oldest : first;
}

bool Dispatcher::ServeOne(Subscription* subscription) {
  // By position: a session that takes nothing of what is ready is passed over, not served.
  for (const Taker& taker : subscription->takers) {
    const int tier = taker.tier;
    const SessionNumber number = taker.session;
    Session* session = sessions_->Find(number);
    bool lower_turn = false;
    Lane* lane = ChooseLane(subscription, *session, &lower_turn);
    if (lane == nullptr) continue;
    const LaneClass& lane_class = *lane->ready->owner;
    const Deliverer::Head head{lane_class.type, static_cast<uint8_t>(kUrgencies - 1 - lane_class.urgency),
                               lane->ready_since};
    uint64_t count = std::min<uint64_t>(session->credit, kChunk);
    const uint32_t running = context_.state.LeasesOf(number).count;
    if (tier == 0) count = std::min<uint64_t>(count, session->concurrency - running);
    // Few tasks are shared among those who could take them: the free, or, when there are none, those who prefetch.
    const uint64_t sharers = tier == 0 ? subscription->free_takers : subscription->takers.size();
    const uint64_t waiting = lane->fresh_count + lane->timed_due();
    count = std::min(count, std::max<uint64_t>(1, waiting / sharers));
    if (lane->queue->shared) count = std::min(count, kSharedChunk);
    const bool others = ReadyIndex::HasLower(*subscription, lane_class.urgency);
    if (lower_turn) {
      count = 1;
    } else if (others) {
      count = std::min<uint64_t>(
          count, context_.options.priority_burst - std::min(subscription->burst, context_.options.priority_burst - 1));
    }
    auto limited = session->type_credits.end();
    if (!session->type_credits.empty()) {
      limited = session->type_credits.find(ToAbsl(context_.state.TypeName(head.type)));
      if (limited != session->type_credits.end()) count = std::min(count, limited->second);
    }
    count = std::min<uint64_t>(count, context_.options.max_tasks_per_worker - running);
    const uint32_t given = deliverer_.Deliver(lane, head, session, static_cast<uint32_t>(count));
    session->credit -= given;
    if (limited != session->type_credits.end()) limited->second -= given;
    subscription->burst = others && !lower_turn ? subscription->burst + given : 0;
    Refresh(lane);
    SessionChanged(session);
    return true;
  }
  return false;
}

void Dispatcher::Settle(const Lease& lease) {
  if (lease.metered) meters_.GiveBack(Meters::PlaceOf(context_.state, lease), lease.cost);
  if (lease.charged == 0) return;
  const Span used = lease.started ? std::max<Span>(context_.now.wall - lease.start_time, 0) : 0;
  ready_.Settle(lease.queue, lease.group, lease.charged, used);
}

void Dispatcher::HandlerCools(const Lease& lease, CoolScope scope, Time until) {
  if (until <= context_.now.wall) return;
  const TaskPlace place = Meters::PlaceOf(context_.state, lease);
  switch (scope) {
    case CoolScope::kNone:
      return;
    case CoolScope::kQueue:
      return meters_.Cool({kCooledQueue, place.queue.value()}, until);
    case CoolScope::kType:
      return meters_.Cool({kCooledType, place.type.value()}, until);
    case CoolScope::kGroup:
      if (place.group != 0) meters_.Cool({kCooledGroup, place.group}, until);
      return;
    case CoolScope::kKey:
      if (place.key != 0) meters_.Cool({kCooledKey, place.key}, until);
      return;
  }
}

// --- views ---

void Dispatcher::CountWorkers() {
  if (workers_counted_) return;
  workers_counted_ = true;
  for (const auto& [key, subscription] : subscriptions_) {
    Subscription::Workers& workers = subscription->workers;
    workers = {};
    for (const std::string& name : subscription->queues) {
      const QueueState* queue = context_.state.FindQueue(name);
      if (queue != nullptr) workers.waiting += queue->counters.available;
    }
  }
  for (const auto& [number, session] : sessions_->all()) {
    if (session->subscription == nullptr || !session->connected()) continue;
    Subscription::Workers& workers = session->subscription->workers;
    ++workers.connected;
    if (session->draining) {
      ++workers.draining;
      continue;
    }
    const LeaseList& leases = context_.state.LeasesOf(number);
    workers.slots += session->concurrency;
    workers.free += session->concurrency - std::min(session->concurrency, leases.count);
    workers.started += std::min(leases.started, session->concurrency);
    workers.prefetched += leases.count - std::min(leases.count, session->concurrency);
  }
}

Dispatcher::WorkersFor Dispatcher::FindWorkers(const QueueState& queue, TypeId type) const {
  WorkersFor found;
  for (const auto& [key, subscription] : subscriptions_) {
    const Subscription::Workers& workers = subscription->workers;
    if (workers.connected == 0) continue;
    const Fit fit = FitOf(context_.state, *subscription, queue, type);
    if (fit == Fit::kYes) {
      found.fitting.connected += workers.connected;
      found.fitting.draining += workers.draining;
      found.fitting.slots += workers.slots;
      found.fitting.free += workers.free;
      found.fitting.started += workers.started;
      found.fitting.prefetched += workers.prefetched;
      found.subscriptions.push_back(subscription.get());
    } else if (fit == Fit::kLabelsMissing) {
      std::vector<std::string> missing;
      for (std::string_view label : SplitLabels(context_.state.TypeLabels(type))) {
        if (!subscription->labels.contains(ToAbsl(label))) missing.emplace_back(label);
      }
      if (found.without_labels == 0 || missing.size() < found.missing.size()) found.missing = std::move(missing);
      found.without_labels += workers.connected;
    }
  }
  return found;
}

void Dispatcher::Describe(const QueueState& queue, QueueView* view) {
  view->oldest_available = ready_.OldestSince(queue.id);
  for (TypeId type : ready_.ReadyTypes(queue.id)) {
    if (view->unhandled_types.size() == kUnhandledShown) break;
    const WorkersFor workers = FindWorkers(queue, type);
    if (workers.fitting.connected > 0) continue;
    std::string text(context_.state.TypeName(type));
    if (!workers.missing.empty()) text += fmt::format(" (no worker has {})", fmt::join(workers.missing, ", "));
    // Several sets of labels of one type may lack the same.
    const auto& known = view->unhandled_types;
    if (std::find(known.begin(), known.end(), text) == known.end()) view->unhandled_types.push_back(std::move(text));
  }
}

}  // namespace penstock::broker
