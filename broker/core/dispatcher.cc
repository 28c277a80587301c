#include "broker/core/dispatcher.h"

#include <algorithm>

#include "broker/core/state_codec.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Dealt out in one batch at most, so that a batch stays small enough to commit quickly.
constexpr uint32_t kTasksPerRun = 8'192;
constexpr size_t kBytesPerRun = 4 << 20;
// Given to a session in one go when no other priority or session waits.
constexpr uint32_t kChunk = 256;
constexpr int kMostUrgent = 9;

}  // namespace

// --- subscriptions ---

bool Dispatcher::Matches(const Subscription& subscription, const Lane& lane) const {
  return subscription.queues.contains(lane.queue->name) &&
         subscription.types.contains(ToAbsl(context_.state.TypeName(lane.key.type)));
}

void Dispatcher::SessionConnected(Session* session) {
  std::vector<std::string> queues = session->queues;
  std::vector<std::string> types;
  for (const HandledType& type : session->types) types.push_back(type.type);
  std::sort(queues.begin(), queues.end());
  std::sort(types.begin(), types.end());
  const std::string key = fmt::format("{}|{}", fmt::join(queues, ","), fmt::join(types, ","));
  std::unique_ptr<Subscription>& subscription = subscriptions_[key];
  const bool added = subscription == nullptr;
  if (added) {
    subscription = std::make_unique<Subscription>();
    subscription->id = next_subscription_++;
    subscription->queues = {queues.begin(), queues.end()};
    subscription->types = {types.begin(), types.end()};
  }
  session->subscription = subscription.get();
  ++subscription->sessions;
  if (added) Rematch(*subscription);
  SessionChanged(session);
}

void Dispatcher::SessionEnds(Session* session) {
  Delist(session);
  Subscription* subscription = session->subscription;
  session->subscription = nullptr;
  if (subscription == nullptr || --subscription->sessions > 0) return;
  // Its lanes forget it before it goes.
  const auto queues = subscription->queues;
  for (auto it = subscriptions_.begin(); it != subscriptions_.end(); ++it) {
    if (it->second.get() != subscription) continue;
    std::unique_ptr<Subscription> gone = std::move(it->second);
    subscriptions_.erase(it);
    Rematch(*gone);
    return;
  }
}

void Dispatcher::SessionChanged(Session* session) {
  Delist(session);
  Enlist(session);
}

void Dispatcher::Enlist(Session* session) {
  if (stopped_ || session->subscription == nullptr || !session->connected() || session->draining ||
      session->credit == 0) {
    return;
  }
  const uint32_t running = context_.state.LeasesOf(session->number).count;
  if (running >= context_.options.max_tasks_per_worker) return;
  session->tier = running < session->concurrency ? 0 : 1;
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

Dispatcher::LaneDispatch& Dispatcher::DispatchOf(Lane* lane) {
  LaneDispatch& dispatch = lanes_[lane->id];
  if (!dispatch.matched) {
    dispatch.matched = true;
    for (const auto& [key, subscription] : subscriptions_) {
      if (Matches(*subscription, *lane)) dispatch.subscriptions.push_back(subscription.get());
    }
  }
  return dispatch;
}

void Dispatcher::Unready(LaneDispatch& dispatch) {
  if (!dispatch.ready) return;
  for (Subscription* subscription : dispatch.subscriptions) subscription->ready.erase(dispatch.key);
  dispatch.ready = false;
}

void Dispatcher::Rematch(const Subscription& subscription) {
  for (const std::string& name : std::vector<std::string>(subscription.queues.begin(), subscription.queues.end())) {
    QueueState* queue = context_.state.FindQueue(name);
    if (queue == nullptr) continue;
    for (LaneId id : queue->lanes) {
      Lane* lane = context_.state.FindLane(id);
      if (auto found = lanes_.find(id); found != lanes_.end()) {
        // The set of a subscription that is gone dies with it; the others forget the lane until it is refreshed.
        Unready(found->second);
        found->second.subscriptions.clear();
        found->second.matched = false;
      }
      Refresh(lane);
    }
  }
}

void Dispatcher::RefreshQueue(const QueueState& queue) {
  for (LaneId id : queue.lanes) Refresh(context_.state.FindLane(id));
}

void Dispatcher::Drop(Lane* lane) {
  auto found = lanes_.find(lane->id);
  if (found == lanes_.end()) return;
  Unready(found->second);
  lanes_.erase(found);
}

void Dispatcher::Refresh(Lane* lane) {
  LaneDispatch& dispatch = DispatchOf(lane);
  if (dispatch.subscriptions.empty()) return;
  Time since = kNever;
  if (!lane->queue->paused) {
    if (lane->fresh_count > 0) {
      if (lane->front_index < lane->front.size()) {
        since = lane->front[lane->front_index].since;
      } else if (lane->segment_begin == lane->segment_end && !lane->back.empty()) {
        since = lane->back.front().since;
      } else {
        since = 0;  // the front is in the store: look at it soon
      }
    }
    if (auto timer = timers_.Peek(lane)) since = std::min(since, timer->position.due);
  }
  const ReadyLane key{kMostUrgent - lane->key.priority, since, lane->id};
  const bool ready = since != kNever;
  if (dispatch.ready == ready && (!ready || dispatch.key == key)) return;
  Unready(dispatch);
  if (!ready) return;
  dispatch.ready = true;
  dispatch.key = key;
  for (Subscription* subscription : dispatch.subscriptions) subscription->ready.insert(key);
}

// --- dealing out ---

bool Dispatcher::Run() {
  // By index: refreshing may note further changes.
  for (size_t i = 0; i < context_.state.changes().lanes.size(); ++i) {
    if (Lane* lane = context_.state.FindLane(context_.state.changes().lanes[i].lane)) Refresh(lane);
  }
  if (stopped_) return true;
  const uint64_t taken_before = taken_;
  bytes_limit_ = context_.delivered_bytes + kBytesPerRun;
  bool progress = true;
  while (progress) {
    progress = false;
    for (const auto& [key, subscription] : subscriptions_) {
      if (ServeOne(subscription.get())) progress = true;
    }
    if (taken_ - taken_before >= kTasksPerRun || context_.delivered_bytes >= bytes_limit_) {
      return !progress;
    }
  }
  return true;
}

bool Dispatcher::Takes(const Session& session, const Lane& lane) const {
  if (session.type_credits.empty()) return true;
  auto limited = session.type_credits.find(ToAbsl(context_.state.TypeName(lane.key.type)));
  return limited == session.type_credits.end() || limited->second > 0;
}

Lane* Dispatcher::ChooseLane(Subscription* subscription, const Session& session) {
  const ReadyLane* first = nullptr;
  for (const ReadyLane& candidate : subscription->ready) {
    if (!Takes(session, *context_.state.FindLane(candidate.lane))) continue;
    first = &candidate;
    break;
  }
  if (first == nullptr) return nullptr;
  if (subscription->burst >= context_.options.priority_burst) {
    // The turn of lower priorities: of their first lanes the one that has waited longest.
    subscription->burst = 0;
    const ReadyLane* oldest = nullptr;
    for (int urgency = first->urgency + 1; urgency <= kMostUrgent; ++urgency) {
      for (auto it = subscription->ready.lower_bound({urgency, 0, LaneId()});
           it != subscription->ready.end() && it->urgency == urgency; ++it) {
        if (!Takes(session, *context_.state.FindLane(it->lane))) continue;
        if (oldest == nullptr || it->since < oldest->since) oldest = &*it;
        break;
      }
    }
    if (oldest != nullptr) return context_.state.FindLane(oldest->lane);
  }
  return context_.state.FindLane(first->lane);
}

bool Dispatcher::ServeOne(Subscription* subscription) {
  if (subscription->ready.empty()) return false;
  // By position: a session that takes nothing of what is ready is passed over, not served.
  for (const Taker& taker : subscription->takers) {
    const int tier = taker.tier;
    const SessionNumber number = taker.session;
    Session* session = sessions_->Find(number);
    const uint32_t burst_before = subscription->burst;
    Lane* lane = ChooseLane(subscription, *session);
    if (lane == nullptr) continue;
    const bool lower_turn = burst_before > 0 && subscription->burst == 0;
    uint64_t count = std::min<uint64_t>(session->credit, kChunk);
    if (tier == 0) {
      const uint32_t running = context_.state.LeasesOf(number).count;
      count = std::min<uint64_t>(count, session->concurrency - running);
    }
    // Few tasks are shared among those who could take them: the free, or, when there are none, those who prefetch.
    const uint64_t sharers = tier == 0 ? subscription->free_takers : subscription->takers.size();
    const uint64_t waiting = lane->fresh_count + lane->timed_due;
    count = std::min(count, std::max<uint64_t>(1, waiting / sharers));
    const bool others = std::prev(subscription->ready.end())->urgency > kMostUrgent - lane->key.priority;
    if (lower_turn) {
      count = 1;
    } else if (others) {
      count = std::min<uint64_t>(
          count, context_.options.priority_burst - std::min(subscription->burst, context_.options.priority_burst - 1));
    }
    if (!session->type_credits.empty()) {
      auto limited = session->type_credits.find(ToAbsl(context_.state.TypeName(lane->key.type)));
      if (limited != session->type_credits.end()) count = std::min(count, limited->second);
    }
    const uint32_t running = context_.state.LeasesOf(number).count;
    count = std::min<uint64_t>(count, context_.options.max_tasks_per_worker - running);
    const uint32_t given = Deliver(lane, session, static_cast<uint32_t>(count));
    session->credit -= given;
    if (!session->type_credits.empty()) {
      auto limited = session->type_credits.find(ToAbsl(context_.state.TypeName(lane->key.type)));
      if (limited != session->type_credits.end()) limited->second -= given;
    }
    subscription->burst = others && !lower_turn ? subscription->burst + given : 0;
    Refresh(lane);
    SessionChanged(session);
    return true;
  }
  return false;
}

uint32_t Dispatcher::Deliver(Lane* lane, Session* session, uint32_t count) {
  SessionMessage& message = context_.MessageFor(session->stream);
  context_.Promise(*lane->queue);
  uint32_t given = 0;
  // A lane of expired tasks may be long: what is taken is bounded, not only what is given.
  for (uint32_t tries = 0; given < count && tries < kChunk && context_.delivered_bytes < bytes_limit_; ++tries) {
    const auto timer = timers_.Peek(lane);
    const bool fresh = LoadFront(lane);
    if (!fresh && !timer) break;
    const bool timed_first = timer && (!fresh || timer->position.due <= lane->front[lane->front_index].since);
    ++taken_;
    // An expired or unreadable task is taken out of the way and not counted.
    if (timed_first ? DeliverTimed(lane, session, message) : DeliverFresh(lane, session, message)) ++given;
  }
  return given;
}

bool Dispatcher::LoadFront(Lane* lane) {
  while (lane->fresh_count > 0) {
    if (lane->front_index < lane->front.size()) {
      const FreshRun run = lane->front[lane->front_index];
      if (!lane->head) lane->head = std::make_unique<LaneHead>();
      LaneHead& head = *lane->head;
      const BlockState* state = context_.state.FindBlock(run.block);
      if (head.block == nullptr || head.block->id() != run.block) {
        auto block = context_.blocks.Load(run.block, state != nullptr && state->compacted);
        if (!block.ok()) {
          // Every task of it is finished, or it is damaged: then it is reported, and the lane goes on behind it.
          if (!absl::IsNotFound(block.status())) {
            context_.Unreadable(
                block.status(),
                fmt::format("block {}: its tasks of queue={} type={} priority={}, from {} on, do not run",
                            run.block.value(), lane->queue->name, context_.state.TypeName(lane->key.type),
                            lane->key.priority, TaskId(context_.state.partition(), run.block.value(), 0).ToString()));
          }
          context_.state.PopRun(lane);
          continue;
        }
        head.block = *std::move(block);
      }
      const auto slots = head.block->FreshSlots(run.entry);
      uint16_t position = run.position;
      while (position < slots.size() && state != nullptr && state->is_gone(slots[position])) ++position;
      if (position < slots.size()) {
        if (position != run.position) context_.state.SetFrontPosition(lane, position);
        return true;
      }
      context_.state.PopRun(lane);
      head.block = nullptr;
    } else if (lane->segment_begin < lane->segment_end) {
      const std::string key = context_.keys.Segment(lane->id, lane->segment_begin);
      std::vector<FreshRun> runs;
      auto value = context_.commit.Get(Family::kIndex, key);
      auto body = value.ok() ? OpenValue(key, *value) : absl::StatusOr<std::string_view>(value.status());
      auto decoded = body.ok() ? DecodeRuns(*body) : absl::StatusOr<std::vector<FreshRun>>(body.status());
      if (decoded.ok()) {
        runs = *std::move(decoded);
      } else {
        context_.Unreadable(decoded.status(), fmt::format("segment of lane {}", lane->id.value()));
      }
      context_.state.LoadSegment(lane, std::move(runs));
    } else if (!lane->back.empty()) {
      context_.state.TurnToBack(lane);
    } else {
      // Only after damage: what could not be read still counts as waiting. It has been reported.
      context_.state.Count(lane->queue, Counter::kAvailable, -static_cast<int64_t>(lane->fresh_count));
      context_.state.ChangeFresh(lane, -static_cast<int64_t>(lane->fresh_count));
    }
  }
  return false;
}

bool Dispatcher::DeliverFresh(Lane* lane, Session* session, SessionMessage& message) {
  const FreshRun run = lane->front[lane->front_index];
  std::shared_ptr<const TaskBlock> block = lane->head->block;
  const uint16_t slot = block->FreshSlots(run.entry)[run.position];
  context_.state.SetFrontPosition(lane, static_cast<uint16_t>(run.position + 1));
  context_.state.ChangeFresh(lane, -1);
  context_.state.Count(lane->queue, Counter::kAvailable, -1);
  if (run.position + 1u == block->FreshSlots(run.entry).size()) {
    context_.state.PopRun(lane);
    lane->head->block = nullptr;
  }
  const TaskId task(context_.state.partition(), run.block.value(), slot);
  context_.state.TouchBlock(run.block, block->slot_count());
  if (block->extras(slot).expire_at <= context_.now.wall) {
    lifecycle_.Expire({task, std::move(block), std::nullopt, lane->key}, false);
    return false;
  }
  Lend(session, message, *lane->queue, task, run.since, std::move(block), lane->key, nullptr);
  return true;
}

bool Dispatcher::DeliverTimed(Lane* lane, Session* session, SessionMessage& message) {
  const auto [due, task] = timers_.Peek(lane)->position;
  timers_.Take(lane);
  auto stored = lifecycle_.Load(task);
  if (!stored.ok() || stored->block == nullptr) {
    context_.Unreadable(stored.ok() ? absl::DataLossError("its block is gone") : stored.status(),
                        "task " + task.ToString());
    return false;
  }
  context_.state.TouchBlock(stored->block->id(), stored->block->slot_count());
  const bool may_expire = Lifecycle::MayExpire(stored->record ? &*stored->record : nullptr);
  if (may_expire && stored->extras().expire_at <= context_.now.wall) {
    lifecycle_.Expire(*stored, false);
    return false;
  }
  Lend(session, message, *lane->queue, task, due, stored->block, lane->key,
       stored->record ? &*stored->record : nullptr);
  return true;
}

void Dispatcher::Lend(Session* session, SessionMessage& message, const QueueState& queue, TaskId task,
                      Time available_time, std::shared_ptr<const TaskBlock> block, const LaneKey& key,
                      const records::TaskRecord* record) {
  const SlotExtras& extras = block->extras(task.slot());
  Lease lease;
  lease.task = task;
  lease.token = FencingToken(next_token_++);
  lease.session = session->number;
  lease.queue = key.queue;
  lease.type = key.type;
  lease.priority = key.priority;
  lease.attempt = static_cast<uint16_t>((record != nullptr ? record->attempt() : 0) + 1);
  lease.exceptional = record != nullptr;
  lease.create_time = block->create_time();
  lease.start_time = context_.now.wall;
  lease.available_time = available_time;
  lease.details_known = true;
  lease.has_unique_key = !extras.unique_key.empty();
  lease.result_retention = extras.result_retention.value_or(-1);
  context_.state.AddLease(lease);
  context_.state.Count(context_.state.FindQueue(key.queue), Counter::kRunning, 1);

  Delivery delivery;
  delivery.task = task;
  delivery.token = lease.token;
  delivery.attempt = lease.attempt;
  delivery.max_attempts = (extras.retry_policy ? *extras.retry_policy : queue.settings.retry_policy).max_attempts +
                          (record != nullptr ? record->attempt_base() : 0);
  delivery.create_time = lease.create_time;
  delivery.run_timeout = extras.run_timeout != 0 ? extras.run_timeout : queue.settings.run_timeout;
  delivery.spec = block->spec(task.slot());
  delivery.block = std::move(block);
  context_.delivered_bytes += delivery.spec.size();
  message.deliveries.push_back(std::move(delivery));
}

// --- reasons ---

bool Dispatcher::Handled(const QueueState& queue, TypeId type) {
  const std::string_view type_name = context_.state.TypeName(type);
  for (const auto& [number, session] : sessions_->all()) {
    if (!session->connected() || session->subscription == nullptr) continue;
    if (session->subscription->queues.contains(queue.name) &&
        session->subscription->types.contains(ToAbsl(type_name))) {
      return true;
    }
  }
  return false;
}

std::string Dispatcher::WaitingReason(const LaneKey& key) {
  const QueueState* queue = context_.state.FindQueue(key.queue);
  if (queue == nullptr) return "";
  if (queue->paused) return fmt::format("queue {} is paused", queue->name);
  if (!Handled(*queue, key.type)) {
    return fmt::format("no connected worker handles type {} in queue {}", context_.state.TypeName(key.type),
                       queue->name);
  }
  return "";
}

}  // namespace penstock::broker
