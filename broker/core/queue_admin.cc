#include "broker/core/queue_admin.h"

#include <algorithm>

#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Dead tasks looked through in one call, when only some are of the type asked for.
constexpr uint32_t kDeadTasksLooked = 100'000;

void ApplySettings(const QueueSettingsChange& change, QueueSettings* settings) {
  if (change.relaxed) settings->relaxed = *change.relaxed;
  if (change.retry_policy) settings->retry_policy = *change.retry_policy;
  if (change.result_retention) settings->result_retention = *change.result_retention;
  if (change.dead_retention) settings->dead_retention = *change.dead_retention;
  if (change.run_timeout) settings->run_timeout = *change.run_timeout;
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
  TypeId last_type;
  for (LaneId id : queue.lanes) {
    Lane* lane = context_.state.FindLane(id);
    if (!lane->has_waiting()) continue;
    if (lane->fresh_count > 0) {
      if (lane->front_index < lane->front.size()) {
        view.oldest_available = std::min(view.oldest_available, lane->front[lane->front_index].since);
      } else if (!lane->back.empty()) {
        view.oldest_available = std::min(view.oldest_available, lane->back.front().since);
      }
    }
    if (const auto timer = timers_.Peek(lane)) {
      view.oldest_available = std::min(view.oldest_available, timer->position.due);
    }
    if (lane->key.type != last_type && view.unhandled_types.size() < 10 &&
        !dispatcher_.Handled(queue, lane->key.type)) {
      std::string name(context_.state.TypeName(lane->key.type));
      if (std::find(view.unhandled_types.begin(), view.unhandled_types.end(), name) == view.unhandled_types.end()) {
        view.unhandled_types.push_back(std::move(name));
      }
    }
    last_type = lane->key.type;
  }
  return view;
}

void QueueAdmin::Apply(const QueueCommand& command) {
  QueueReply reply;
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
    ASSIGN_OR_RETURN(queue, enqueuer_.QueueFor(command.queue));
    ApplySettings(command.settings, &queue->settings);
    PutQueueRecord(context_, *queue);
    reply->queue = View(*queue);
    return absl::OkStatus();
  }
  if (queue == nullptr) return absl::NotFoundError(fmt::format("there is no queue {}", command.queue));
  switch (command.verb) {
    case QueueVerb::kCreate:
      break;
    case QueueVerb::kUpdate:
      ApplySettings(command.settings, &queue->settings);
      break;
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
    context_.state.PurgeLane(lane);
  }
  context_.state.Count(queue, Counter::kScheduled, -static_cast<int64_t>(counters.scheduled));
  context_.state.Count(queue, Counter::kAvailable, -static_cast<int64_t>(counters.available));
  context_.state.Count(queue, Counter::kRetryable, -static_cast<int64_t>(counters.retryable));
  lifecycle_.FailPurgedWatches();
  return purged;
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
  enqueuer_.Forget(queue->name);
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
    type = context_.state.FindType(command.type);
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
    } else if (type.empty() || record->type_id() == type.value()) {
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
