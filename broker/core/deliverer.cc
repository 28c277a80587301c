#include "broker/core/deliverer.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/state_codec.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Taken from a lane in one go at most: a lane of expired tasks may be long.
constexpr uint32_t kTries = 256;

}  // namespace

// --- heads ---

std::optional<Lifecycle::StoredTask> Deliverer::LoadStored(TaskId task) {
  auto stored = lifecycle_.Load(task);
  if (stored.ok() && stored->block != nullptr) return *std::move(stored);
  context_.Unreadable(stored.ok() ? absl::DataLossError("its block is gone") : stored.status(),
                      "task " + task.ToString());
  return std::nullopt;
}

std::optional<Lifecycle::StoredTask> Deliverer::DueHolder(Lane* lane) {
  const KeyHold hold = *lane->hold;
  if (hold.due == kNever || TimerPosition{hold.due, hold.task} > lane->due_cursor()) return std::nullopt;
  auto stored = LoadStored(hold.task);
  // A record that is damaged must not stop its key for ever: it has been reported.
  if (!stored || !stored->record) {
    context_.state.SetHold(lane, std::nullopt);
    return std::nullopt;
  }
  return stored;
}

void Deliverer::DropEmptyRuns(Lane* lane) {
  if (lane->head == nullptr || !std::exchange(lane->head->left_out_of_turn, false)) return;
  if (LoadFront(lane)) return;
  // Nothing is left without a timer: all runs are over.
  while (!lane->runs.empty()) {
    LoadRuns(lane);
    if (!lane->runs.has_front()) return;
    context_.state.PopRun(lane);
  }
}

std::optional<Deliverer::Head> Deliverer::HeadOf(Lane* lane) {
  if (lane->key.fifo) DropEmptyRuns(lane);
  if (lane->hold != nullptr) {
    if (auto stored = DueHolder(lane)) return Head{stored->type, stored->priority, lane->hold->due};
    if (lane->hold != nullptr) return std::nullopt;
  }
  std::optional<Head> head;
  if (lane->fresh_count > 0) {
    LoadRuns(lane);
    if (lane->runs.has_front()) {
      const FreshRun& front = lane->runs.front();
      head = lane->key.fifo ? Head{front.type(), front.priority(), front.since}
                            : Head{lane->key.type, lane->key.priority, front.since};
    }
  }
  while (const auto timer = timers_.Peek(lane)) {
    const Time due = timer->position.due;
    if (head && !Timers::GoesBefore(due, head->since)) break;
    if (!lane->key.fifo) return Head{lane->key.type, lane->key.priority, due};
    if (head && head->since == due && LoadFront(lane) && FrontIsBefore(*lane, timer->position)) {
      const FreshRun& front = lane->runs.front();
      return Head{front.type(), front.priority(), front.since};
    }
    if (auto stored = LoadStored(timer->position.task)) return Head{stored->type, stored->priority, due};
    timers_.Take(lane);  // out of the way; it has been reported
  }
  return head;
}

std::optional<TaskId> Deliverer::FirstOf(Lane* lane) {
  const auto timer = timers_.Peek(lane);
  const bool fresh = LoadFront(lane);
  if (!timer && !fresh) return std::nullopt;
  if (timer && (!fresh || !FrontIsBefore(*lane, timer->position))) {
    return timer->position.task;
  }
  const FreshRun& front = lane->runs.front();
  return TaskId(context_.state.partition(), front.block.value(),
                lane->head->block->FreshSlots(front.entry)[front.position]);
}

void Deliverer::LoadRuns(Lane* lane) {
  while (!lane->runs.has_front() && lane->runs.segment_begin() < lane->runs.segment_end()) {
    const std::string key = context_.keys.Segment(lane->id, lane->runs.segment_begin());
    std::vector<FreshRun> runs;
    auto value = context_.commit.Get(Family::kIndex, key);
    auto body = value.ok() ? OpenValue(key, *value) : absl::StatusOr<std::string_view>(value.status());
    auto decoded = body.ok() ? DecodeRuns(*body, lane->key.fifo) : absl::StatusOr<std::vector<FreshRun>>(body.status());
    if (decoded.ok()) {
      runs = *std::move(decoded);
    } else {
      context_.Unreadable(decoded.status(), fmt::format("segment of lane {}", lane->id.value()));
    }
    context_.state.LoadSegment(lane, std::move(runs));
  }
  if (lane->runs.has_front()) return;
  // Only after damage: what could not be read still counts as waiting. It has been reported.
  context_.state.Count(lane->queue, Counter::kAvailable, -static_cast<int64_t>(lane->fresh_count));
  context_.state.ChangeFresh(lane, -static_cast<int64_t>(lane->fresh_count));
}

bool Deliverer::LoadFront(Lane* lane) {
  while (lane->fresh_count > 0) {
    LoadRuns(lane);
    if (!lane->runs.has_front()) return false;
    const FreshRun run = lane->runs.front();
    if (!lane->head) lane->head = std::make_unique<LaneHead>();
    LaneHead& head = *lane->head;
    const BlockState* state = context_.state.FindBlock(run.block);
    if (head.block == nullptr || head.block->id() != run.block) {
      auto block = context_.blocks.Load(run.block, state != nullptr && state->compacted);
      if (!block.ok()) {
        // Every task of it is finished, or it is damaged: then it is reported, and the lane goes on behind it.
        if (!absl::IsNotFound(block.status())) {
          const TypeId type = lane->key.fifo ? run.type() : lane->key.type;
          context_.Unreadable(block.status(),
                              fmt::format("block {}: its tasks of queue={} type={} priority={}, from {} on, do not run",
                                          run.block.value(), lane->queue->name, context_.state.TypeName(type),
                                          lane->key.fifo ? run.priority() : lane->key.priority,
                                          TaskId(context_.state.partition(), run.block.value(), 0).ToString()));
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
  }
  return false;
}

// A task of a FIFO key that was changed without being postponed keeps its place among those of its commit.
bool Deliverer::FrontIsBefore(const Lane& lane, const TimerPosition& timer) const {
  const FreshRun& front = lane.runs.front();
  if (timer.due != front.since || !lane.key.fifo) return timer.due > front.since;
  const uint16_t slot = lane.head->block->FreshSlots(front.entry)[front.position];
  return TaskId(context_.state.partition(), front.block.value(), slot) < timer.task;
}

// --- delivery ---

TaskPlace Deliverer::PlaceOf(const Lane& lane, TypeId type) const {
  return {lane.key.queue, context_.state.BaseType(type), lane.group, lane.key.fifo ? lane.key.name : 0};
}

uint32_t Deliverer::Deliver(Lane* lane, const Head& head, Session* session, uint32_t count) {
  SessionMessage& message = context_.MessageFor(session->stream);
  context_.Promise(*lane->queue);
  if (lane->key.fifo) count = std::min<uint32_t>(count, 1);
  // Room for all at once, but where many take turns not a little more each time.
  if (const size_t room = message.deliveries.size() + count; room > message.deliveries.capacity()) {
    message.deliveries.reserve(std::max(room, 2 * message.deliveries.capacity()));
  }
  uint32_t given = 0;
  bool others = false;
  for (uint32_t tries = 0; given < count && tries < kTries && !full() && !others; ++tries) {
    // An expired or unreadable task is taken out of the way and not counted.
    given += DeliverNext(lane, head, session, message, count - given, &others);
  }
  return given;
}

uint32_t Deliverer::DeliverNext(Lane* lane, const Head& head, Session* session, SessionMessage& message, uint32_t count,
                                bool* others) {
  // In a FIFO key's lane the next task may be of another type, which this session may not take.
  auto is_other = [&](TypeId type, uint8_t priority) {
    *others = type != head.type || priority != head.priority;
    return *others;
  };
  auto is_throttled = [&](const SlotExtras& extras) {
    *others = IsThrottled(*lane, head.type, extras);
    return *others;
  };
  if (lane->hold != nullptr) {
    auto stored = DueHolder(lane);
    if (!stored || is_other(stored->type, stored->priority)) {
      *others = true;
      return 0;
    }
    if (is_throttled(stored->extras())) return 0;
    ++taken_;
    const bool retryable = stored->record->state() == static_cast<uint32_t>(State::kRetryable);
    const Time due = stored->record->run_time();
    timers_.Remove(lane, due, stored->id, retryable ? TimerKind::kRetryable : TimerKind::kReturned);
    return DeliverStored(lane, *stored, due, session, message) ? 1 : 0;
  }
  const auto timer = timers_.Peek(lane);
  const bool fresh = LoadFront(lane);
  if (!fresh && !timer) {
    *others = true;
    return 0;
  }
  if (!timer || (fresh && FrontIsBefore(*lane, timer->position))) {
    const FreshRun& front = lane->runs.front();
    if (lane->key.fifo && is_other(front.type(), front.priority())) return 0;
    return DeliverFresh(lane, session, message, count, others);
  }
  const auto [due, task] = timer->position;
  auto stored = LoadStored(task);
  if (stored && lane->key.fifo && is_other(stored->type, stored->priority)) return 0;
  if (stored && is_throttled(stored->extras())) return 0;
  ++taken_;
  timers_.Take(lane);
  return stored && DeliverStored(lane, *stored, due, session, message) ? 1 : 0;
}

void Deliverer::AdvanceFront(Lane* lane, size_t position, uint32_t count) {
  const TaskBlock& block = *lane->head->block;
  taken_ += count;
  context_.state.TouchBlock(block.id(), block.slot_count());
  context_.state.SetFrontPosition(lane, static_cast<uint16_t>(position));
  context_.state.ChangeFresh(lane, -int64_t{count});
  context_.state.Count(lane->queue, Counter::kAvailable, -int64_t{count});
  if (position == block.FreshSlots(lane->runs.front().entry).size()) {
    context_.state.PopRun(lane);
    lane->head->block = nullptr;
  }
  // What is left of the front run, or the run behind it, may have left out of turn before.
  if (lane->key.fifo) lane->head->left_out_of_turn = true;
}

Lifecycle::StoredTask Deliverer::TakeFront(Lane* lane) {
  const FreshRun run = lane->runs.front();
  Lifecycle::StoredTask stored;
  stored.block = lane->head->block;
  const TaskBlock::Entry& entry = stored.block->entries()[run.entry];
  stored.id = TaskId(context_.state.partition(), run.block.value(), stored.block->FreshSlots(run.entry)[run.position]);
  stored.lane = lane->key;
  stored.type = entry.type;
  stored.priority = entry.priority;
  AdvanceFront(lane, run.position + 1u, 1);
  context_.state.CountBytes(lane->queue, stored.id, -static_cast<int64_t>(stored.spec().size()));
  return stored;
}

// The tasks of a run have much in common: what they share is looked up once.
uint32_t Deliverer::DeliverFresh(Lane* lane, Session* session, SessionMessage& message, uint32_t count, bool* others) {
  const FreshRun run = lane->runs.front();
  const std::shared_ptr<const TaskBlock> block = lane->head->block;
  const TaskBlock::Entry& entry = block->entries()[run.entry];
  const auto slots = block->FreshSlots(run.entry);
  const BlockState* state = context_.state.FindBlock(run.block);
  uint32_t lent = 0;
  size_t position = run.position;
  for (; position < slots.size() && lent < count && !full(); ++position) {
    const uint16_t slot = slots[position];
    if (state != nullptr && state->is_gone(slot)) continue;
    const SlotExtras& extras = block->extras(slot);
    *others = IsThrottled(*lane, entry.type, extras);
    if (*others) break;
    const Lifecycle::Deadline deadline = Lifecycle::DeadlineOf(extras, block->create_time(), nullptr);
    if (deadline.time <= context_.now.wall) {
      if (lent > 0) break;  // it is the front then, next time
      lifecycle_.Expire(TakeFront(lane), false, deadline.reason);
      return 0;
    }
    const TaskId task(context_.state.partition(), run.block.value(), slot);
    context_.state.CountBytes(lane->queue, task, -static_cast<int64_t>(block->spec(slot).size()));
    Lend(lane, session, message, {task, entry.type, entry.priority, run.since, block});
    ++lent;
  }
  if (lent > 0) AdvanceFront(lane, position, lent);
  return lent;
}

bool Deliverer::DropHead(Lane* lane) {
  const auto timer = timers_.Peek(lane);
  const bool fresh = LoadFront(lane);
  if (!fresh && !timer) return false;
  if (fresh && (!timer || FrontIsBefore(*lane, timer->position))) {
    lifecycle_.Drop(TakeFront(lane));
    return true;
  }
  auto stored = LoadStored(timer->position.task);
  timers_.Take(lane);
  if (!stored) return true;  // out of the way; it has been reported
  context_.state.TouchBlock(stored->block->id(), stored->block->slot_count());
  context_.state.CountBytes(lane->queue, stored->id, -static_cast<int64_t>(stored->spec().size()));
  lifecycle_.Drop(*stored);
  return true;
}

bool Deliverer::DeliverStored(Lane* lane, const Lifecycle::StoredTask& stored, Time due, Session* session,
                              SessionMessage& message) {
  context_.state.TouchBlock(stored.block->id(), stored.block->slot_count());
  context_.state.CountBytes(lane->queue, stored.id, -static_cast<int64_t>(stored.spec().size()));
  const records::TaskRecord* record = stored.record ? &*stored.record : nullptr;
  const Lifecycle::Deadline deadline = Lifecycle::DeadlineOf(stored.extras(), stored.block->create_time(), record);
  if (deadline.time <= context_.now.wall) {
    lifecycle_.Expire(stored, false, deadline.reason);
    return false;
  }
  Lend(lane, session, message, {stored.id, stored.type, stored.priority, due, stored.block, &stored});
  return true;
}

void Deliverer::Lend(Lane* lane, Session* session, SessionMessage& message, const Loan& loan) {
  const QueueState& queue = *lane->queue;
  const records::TaskRecord* record = loan.stored != nullptr && loan.stored->record ? &*loan.stored->record : nullptr;
  const SlotExtras& extras = loan.stored != nullptr ? loan.stored->extras() : loan.block->extras(loan.task.slot());
  Lease lease;
  lease.task = loan.task;
  lease.token = FencingToken(next_token_++);
  lease.session = session->number;
  lease.queue = lane->key.queue;
  lease.type = loan.type;
  lease.priority = loan.priority;
  lease.fifo = lane->key.fifo;
  lease.lane_name = lane->key.name;
  lease.attempt = static_cast<uint16_t>((record != nullptr ? record->attempt() : 0) + 1);
  lease.exceptional = record != nullptr;
  lease.create_time = loan.block->create_time();
  lease.start_time = context_.now.wall;
  lease.available_time = loan.available_time;
  lease.details_known = true;
  lease.has_unique_key = !extras.unique_key.empty();
  if (lease.has_unique_key && extras.unique_waiting) {
    lifecycle_.ReleaseKeyOfWaiting(queue.id, loan.task, extras);
    lease.has_unique_key = false;
  }
  lease.result_retention = extras.result_retention.value_or(-1);
  lease.cost = extras.cost;
  if (meters_.any()) lease.metered = meters_.Take(PlaceOf(*lane, loan.type), extras.cost);
  if (queue.shared) {
    lease.group = lane->group;
    lease.charged = ready_.Charge(queue.id, lane->group, loan.type);
  }
  context_.state.AddLease(lease);
  context_.state.Count(lane->queue, Counter::kRunning, 1);
  if (lane->key.fifo) context_.state.SetHold(lane, KeyHold{loan.task});

  Delivery& delivery = message.deliveries.emplace_back();
  delivery.task = loan.task;
  delivery.token = lease.token;
  delivery.attempt = lease.attempt;
  delivery.max_attempts = (extras.retry_policy ? *extras.retry_policy : queue.settings.retry_policy).max_attempts +
                          (record != nullptr ? record->attempt_base() : 0);
  delivery.create_time = lease.create_time;
  delivery.run_timeout = extras.run_timeout != 0 ? extras.run_timeout : queue.settings.run_timeout;
  if (extras.life_timeout != 0) {
    const Time life_end = Lifecycle::LifeEnd(extras, lease.create_time, record);
    delivery.run_timeout = std::min(delivery.run_timeout, life_end - context_.now.wall);
  }
  if (record != nullptr && record->has_checkpoint()) {
    delivery.checkpoint = lifecycle_.LoadCheckpoint(loan.task, *record).value_or("");
    context_.delivered_bytes += delivery.checkpoint.size();
  }
  if (loan.stored != nullptr && loan.stored->changed != nullptr) {
    delivery.spec = loan.stored->spec();
    delivery.keepalive = loan.stored->changed;
  } else {
    delivery.spec = loan.block->spec(loan.task.slot());
    delivery.keepalive = loan.block;
  }
  context_.delivered_bytes += delivery.spec.size();
}

}  // namespace penstock::broker
