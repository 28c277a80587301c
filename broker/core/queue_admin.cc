#include "broker/core/queue_admin.h"

#include <algorithm>

#include "broker/core/waiting_bytes.h"
#include "common/name_hash.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Dead tasks looked through in one call, when only some are of the type asked for.
constexpr uint32_t kDeadTasksLooked = 100'000;
// Lanes looked through in one call for keys that are held.
constexpr int kLanesLooked = 10'000;

void ApplySettings(const QueueSettingsChange& change, QueueSettings* settings) {
  if (change.relaxed) settings->relaxed = *change.relaxed;
  if (change.retry_policy) settings->retry_policy = *change.retry_policy;
  if (change.result_retention) settings->result_retention = *change.result_retention;
  if (change.dead_retention) settings->dead_retention = *change.dead_retention;
  if (change.cancelled_retention) settings->cancelled_retention = *change.cancelled_retention;
  if (change.run_timeout) settings->run_timeout = *change.run_timeout;
  if (change.dead_blocks_key) settings->dead_blocks_key = *change.dead_blocks_key;
  if (change.group_weights) settings->group_weights = *change.group_weights;
  if (change.max_waiting) settings->max_waiting = *change.max_waiting;
  if (change.max_waiting_bytes) settings->max_waiting_bytes = *change.max_waiting_bytes;
  if (change.drop_oldest) settings->drop_oldest = *change.drop_oldest;
}

// What each setting alone cannot say. A limit may be taken from a queue that drops, which then keeps everything; but to
// ask for dropping where there is no limit is a mistake.
absl::Status CheckSettings(const QueueSettingsChange& change, QueueSettings settings) {
  ApplySettings(change, &settings);
  if (change.drop_oldest.value_or(false) && settings.max_waiting == 0 && settings.max_waiting_bytes == 0) {
    return InvalidField("queue.settings.overflow_policy",
                        "drops nothing without a limit; give max_waiting or max_waiting_bytes, too, or leave it out");
  }
  return absl::OkStatus();
}

}  // namespace

QueueView QueueAdmin::View(const QueueState& queue) {
  QueueView view;
  view.id = queue.id;
  view.name = queue.name;
  view.settings = queue.settings;
  view.paused = queue.paused;
  view.draining = queue.draining;
  view.create_time = queue.create_time;
  view.counters = queue.counters;
  view.times = queue.times;
  view.waiting_bytes = queue.waiting_bytes;
  dispatcher_.Describe(queue, &view);
  view.drained_in = estimator_.DrainedIn(queue);
  return view;
}

void QueueAdmin::Apply(const QueueCommand& command) {
  QueueReply reply;
  dispatcher_.CountWorkers();
  if (absl::Status status = Change(command, &reply); !status.ok()) {
    context_.ReplyTo(command.ticket, std::move(status));
  } else {
    context_.effects.needs_sync = true;
    context_.ReplyTo(command.ticket, std::move(reply));
  }
}

absl::Status QueueAdmin::Change(const QueueCommand& command, QueueReply* reply) {
  QueueState* queue = context_.state.FindQueue(command.queue);
  if (command.verb == QueueVerb::kCreate) {
    if (queue != nullptr) return absl::AlreadyExistsError(fmt::format("queue {} exists already", command.queue));
    RETURN_IF_ERROR(CheckSettings(command.settings, context_.options.queue_defaults));
    ASSIGN_OR_RETURN(queue, enqueuer_.QueueFor(command.queue));
    ApplySettings(command.settings, &queue->settings);
    SetWeights(queue);
    StartCountingBytes(context_, lifecycle_, queue, 0);
    PutQueueRecord(context_, *queue);
    reply->queue = View(*queue);
    return absl::OkStatus();
  }
  if (queue == nullptr) return absl::NotFoundError(fmt::format("there is no queue {}", command.queue));
  switch (command.verb) {
    case QueueVerb::kCreate:
      break;
    case QueueVerb::kUpdate: {
      RETURN_IF_ERROR(CheckSettings(command.settings, queue->settings));
      const uint64_t bytes_before = queue->settings.max_waiting_bytes;
      ApplySettings(command.settings, &queue->settings);
      SetWeights(queue);
      StartCountingBytes(context_, lifecycle_, queue, bytes_before);
      if (!queue->settings.dead_blocks_key) ReleaseDeadKeys(*queue);
      break;
    }
    case QueueVerb::kPause:
      queue->paused = true;
      break;
    case QueueVerb::kResume:
      queue->paused = false;
      queue->draining = false;
      break;
    case QueueVerb::kDrain:
      queue->draining = true;
      break;
    case QueueVerb::kPurge:
      reply->purged = Purge(queue);
      context_.Fact(LogFact::Kind::kQueuePurged, fmt::format("queue={} tasks={}", queue->name, reply->purged));
      reply->queue = View(*queue);
      return absl::OkStatus();
    case QueueVerb::kDelete:
      return Delete(queue, command.force);
  }
  PutQueueRecord(context_, *queue);
  dispatcher_.RefreshQueue(*queue);
  context_.Fact(LogFact::Kind::kQueueChanged,
                fmt::format("queue={} paused={} draining={}", queue->name, queue->paused, queue->draining));
  reply->queue = View(*queue);
  return absl::OkStatus();
}

// The lanes leave at once, and with them the tasks; the janitor clears their blocks and records away afterwards.
uint64_t QueueAdmin::Purge(QueueState* queue) {
  const QueueCounters& counters = queue->counters;
  const uint64_t purged = counters.scheduled + counters.available + counters.retryable;
  const std::vector<LaneId> lanes(queue->lanes.begin(), queue->lanes.end());
  for (LaneId id : lanes) {
    Lane* lane = context_.state.FindLane(id);
    dispatcher_.Drop(lane);
    timers_.Drop(lane);
    // A key whose task runs stays its own, or the next of that key would run beside it.
    const LaneKey key = lane->key;
    const uint64_t group = lane->group;
    std::optional<KeyHold> hold;
    if (lane->hold != nullptr && context_.state.FindLease(lane->hold->task) != nullptr) hold = *lane->hold;
    context_.state.PurgeLane(lane);
    if (hold) context_.state.SetHold(context_.state.CreateLane(key, group), hold);
  }
  context_.state.Count(queue, Counter::kScheduled, -static_cast<int64_t>(counters.scheduled));
  context_.state.Count(queue, Counter::kAvailable, -static_cast<int64_t>(counters.available));
  context_.state.Count(queue, Counter::kRetryable, -static_cast<int64_t>(counters.retryable));
  if (queue->waiting_bytes != 0) context_.state.SetBytes(queue, 0);
  lifecycle_.FailPurgedWatches();
  return purged;
}

// Dead tasks block their keys no longer.
void QueueAdmin::ReleaseDeadKeys(const QueueState& queue) {
  for (LaneId id : queue.lanes) {
    Lane* lane = context_.state.FindLane(id);
    if (lane->hold == nullptr || lane->hold->due != kNever) continue;
    if (context_.state.FindLease(lane->hold->task) == nullptr) context_.state.SetHold(lane, std::nullopt);
  }
}

void QueueAdmin::Apply(const ListKeysCommand& command) {
  const QueueState* queue = context_.state.FindQueue(command.queue);
  if (queue == nullptr) {
    context_.ReplyTo(command.ticket, absl::NotFoundError(fmt::format("there is no queue {}", command.queue)));
    return;
  }
  KeysReply reply;
  dispatcher_.CountWorkers();
  int looked = 0;
  for (auto it = queue->lanes.lower_bound(command.from_lane); it != queue->lanes.end(); ++it) {
    if (reply.keys.size() == command.limit || ++looked > kLanesLooked) {
      reply.more = true;
      reply.next_lane = *it;
      break;
    }
    const Lane* lane = context_.state.FindLane(*it);
    if (lane->hold == nullptr) continue;
    KeyView view;
    view.holder = lane->hold->task;
    view.waiting = lane->fresh_count + lane->timed_count();
    if (lane->hold->due != kNever) {
      --view.waiting;  // it waits itself
      view.due = lane->hold->due;
      view.state = lane->hold->due > context_.now.wall ? State::kRetryable : State::kAvailable;
    } else if (context_.state.FindLease(lane->hold->task) == nullptr) {
      view.state = State::kDead;
    }
    view.drained_in = estimator_.DrainedIn(*lane);
    reply.keys.push_back(view);
  }
  context_.ReplyTo(command.ticket, std::move(reply));
}

void QueueAdmin::Apply(const ReleaseKeyCommand& command) {
  const QueueState* queue = context_.state.FindQueue(command.queue);
  Lane* lane = queue == nullptr ? nullptr : context_.state.FindLane(LaneKey::Fifo(queue->id, NameHash(command.key)));
  if (lane == nullptr || lane->hold == nullptr) {
    context_.ReplyTo(command.ticket, queue == nullptr
                                         ? absl::NotFoundError(fmt::format("there is no queue {}", command.queue))
                                         : absl::NotFoundError("no task holds this key"));
    return;
  }
  const TaskId holder = lane->hold->task;
  if (context_.state.FindLease(holder) != nullptr) {
    context_.ReplyTo(command.ticket,
                     absl::FailedPreconditionError(fmt::format(
                         "task {} holds this key and is running; cancel it, and its key is free", holder.ToString())));
    return;
  }
  context_.state.SetHold(lane, std::nullopt);
  context_.effects.needs_sync = true;
  context_.Fact(LogFact::Kind::kKeyReleased, fmt::format("queue={} task={}", queue->name, holder.ToString()));
  context_.ReplyTo(command.ticket, absl::OkStatus());
}

absl::Status QueueAdmin::Delete(QueueState* queue, bool force) {
  const QueueCounters& counters = queue->counters;
  if (counters.running > 0) {
    return absl::FailedPreconditionError(
        fmt::format("queue {} has {} running tasks; pause it, wait for them or cancel them, then delete it",
                    queue->name, counters.running));
  }
  const uint64_t waiting = counters.scheduled + counters.available + counters.retryable;
  if (!force && waiting + counters.dead > 0) {
    return absl::FailedPreconditionError(
        fmt::format("queue {} has {} waiting and {} dead tasks; set force to delete them too", queue->name, waiting,
                    counters.dead));
  }
  Purge(queue);
  // The janitor forgets its dead tasks, and what else is left of it.
  context_.queue_deleted = true;
  context_.commit.Delete(Family::kMeta, context_.keys.Queue(queue->id));
  context_.Fact(LogFact::Kind::kQueueDeleted, fmt::format("queue={}", queue->name));
  lifecycle_.EndSubscriptions(*queue);
  enqueuer_.Forget(queue->name);
  dispatcher_.Forget(*queue);
  context_.state.RemoveQueue(queue);
  return absl::OkStatus();
}

void QueueAdmin::Apply(const DeadTasksCommand& command) {
  QueueState* queue = context_.state.FindQueue(command.queue);
  if (queue == nullptr) {
    context_.ReplyTo(command.ticket, absl::NotFoundError(fmt::format("there is no queue {}", command.queue)));
    return;
  }
  TypeId type;
  if (!command.type.empty()) {
    type = context_.state.FindBaseType(command.type);
    if (type.empty()) {
      context_.ReplyTo(command.ticket, DeadTasksReply{0, queue->counters.dead, true});
      return;
    }
  }
  // Collected first: what is done to them changes the index that is scanned. With a type, others are passed over,
  // within a bound.
  std::vector<std::pair<TaskId, records::TaskRecord>> chosen;
  uint32_t looked_at = 0;
  bool exhausted = true;
  const std::string prefix = context_.keys.DonePrefix(queue->id, State::kDead);
  const std::string end = context_.keys.DonePrefix(queue->id, static_cast<State>(static_cast<int>(State::kDead) + 1));
  absl::Status status = context_.commit.Scan(Family::kIndex, prefix, end, [&](std::string_view key, auto) {
    if (chosen.size() == command.limit || looked_at == kDeadTasksLooked) {
      exhausted = false;
      return false;
    }
    ++looked_at;
    Decoder decoder(key);
    decoder.Raw(1 + 1 + 4 + 1 + 8);
    const TaskId task(decoder.Big64());
    auto record = GetRecord<records::TaskRecord>(context_.commit, Family::kTasks, context_.keys.TaskRecord(task));
    if (!record.ok()) {
      context_.Unreadable(record.status(), "task " + task.ToString());
    } else if (type.empty() || context_.state.BaseType(TypeId(record->type_id())) == type) {
      chosen.emplace_back(task, *std::move(record));
    }
    return true;
  });
  if (!status.ok()) {
    context_.ReplyTo(command.ticket, std::move(status));
    return;
  }
  uint64_t changed = 0;
  for (auto& [task, record] : chosen) {
    if (command.verb == DeadVerb::kPurge) {
      lifecycle_.Forget(task, record, Lifecycle::Forgetting::kPurged);
      ++changed;
    } else if (auto stored = lifecycle_.Load(task); stored.ok() && stored->block != nullptr) {
      lifecycle_.Redrive(*std::move(stored));
      ++changed;
    }
  }
  context_.effects.needs_sync = true;
  context_.ReplyTo(command.ticket, DeadTasksReply{changed, queue->counters.dead, exhausted});
}

}  // namespace penstock::broker
