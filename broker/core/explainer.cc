#include "broker/core/explainer.h"

#include <algorithm>
#include <utility>

#include "broker/storage/labels.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

constexpr size_t kTasksShown = 10;

using Code = WaitReason::Code;

// "gpu=yes, zone=eu"
std::string LabelsShown(std::string_view labels) { return fmt::format("{}", fmt::join(SplitLabels(labels), ", ")); }

// Nobody can tell when it ends: a person has to do something, or a worker has to come.
bool EndsByItself(const WaitReason& reason) {
  switch (reason.code) {
    case Code::kNotDue:
    case Code::kKeyTurn:
    case Code::kThrottled:
    case Code::kCooling:
    case Code::kWorkersBusy:
    case Code::kTurn:
    case Code::kReclaim:
      return true;
    case Code::kKeyHeld:
      return reason.until != kNever;
    default:
      return false;
  }
}

}  // namespace

std::string Explainer::After(Time until) const {
  return penstock::FormatDuration(ToDuration(std::max<Span>(until - context_.now.wall, 0)));
}

void Explainer::Answer(const ExplainTaskCommand& command) {
  auto reply = Explain(command.task);
  if (reply.ok()) {
    context_.ReplyTo(command.ticket, *std::move(reply));
  } else {
    context_.ReplyTo(command.ticket, reply.status());
  }
}

absl::StatusOr<ExplainReply> Explainer::Explain(TaskId task) {
  ExplainReply reply;
  if (context_.state.FindLease(task) != nullptr) {
    reply.state = State::kRunning;
    return reply;
  }
  auto stored = lifecycle_.Load(task);
  if (!stored.ok()) {
    if (!absl::IsNotFound(stored.status())) return stored.status();
    if (!lifecycle_.FinishedUnder(task)) {
      return absl::NotFoundError(fmt::format("there is no task {}, or it is finished and forgotten", task.ToString()));
    }
    reply.state = State::kCompleted;
    return reply;
  }
  if (stored->record && IsFinal(static_cast<State>(stored->record->state()))) {
    reply.state = static_cast<State>(stored->record->state());
    return reply;
  }
  Lane* lane = context_.state.FindLane(stored->lane);
  if (stored->block == nullptr) {
    return absl::DataLossError(fmt::format("task {}: its block is gone", task.ToString()));
  }
  const LaneId waits_in = stored->record ? LaneId(stored->record->lane_id()) : stored->block->lane_of(task.slot()).lane;
  if (lane == nullptr || lane->id != waits_in) {
    return absl::NotFoundError(fmt::format("task {} was purged with its queue", task.ToString()));
  }
  const Time now = context_.now.wall;
  // What came without a delay has waited since its block was made.
  const Time run_at = stored->record ? stored->record->run_time() : stored->extras().run_at;
  const Time since = run_at != 0 ? run_at : stored->block->create_time();
  reply.state = since <= now ? State::kAvailable
                : stored->record && stored->record->state() == static_cast<uint32_t>(State::kRetryable)
                    ? State::kRetryable
                    : State::kScheduled;
  reply.waits = true;
  dispatcher_.CountWorkers();
  const Estimator::Place place = estimator_.PlaceOf(lane, *stored, since);
  reply.before = place.in_queue.expected;
  reply.before_low = place.in_queue.low;
  reply.before_high = place.in_queue.high;
  reply.reasons = Reasons(*stored, lane, since, place.in_lane.low);
  reply.starts_in = place.starts_in;
  for (WaitReason& reason : reply.reasons) {
    if (!EndsByItself(reason)) reply.starts_in = {};
    // It is this that ends first: nothing before it.
    if (!reply.starts_in.known() || reason.until == 0 || reason.until == kNever) continue;
    const Span until = std::max<Span>(reason.until - now, 0);
    reply.starts_in.expected = std::max(reply.starts_in.expected, until);
    reply.starts_in.low = std::max(reply.starts_in.low, until);
    reply.starts_in.high = std::max(reply.starts_in.high, until);
  }
  for (WaitReason& reason : reply.reasons) {
    if (reason.until == kNever) reason.until = 0;
  }
  if (reply.before > 0) {
    reply.reasons.push_back(
        {Code::kTurn, fmt::format("tasks of its queue before it: about {}", reply.before), {}, "", 0});
  }
  return reply;
}

std::string Explainer::WaitingReason(const Lifecycle::StoredTask& task) {
  Lane* lane = context_.state.FindLane(task.lane);
  if (lane == nullptr || task.block == nullptr) return "";
  dispatcher_.CountWorkers();
  const auto reasons = Reasons(task, lane, context_.now.wall, 0);
  return reasons.empty() ? "" : reasons.front().text;
}

std::vector<WaitReason> Explainer::Reasons(const Lifecycle::StoredTask& task, Lane* lane, Time due,
                                           uint64_t tasks_before) {
  const QueueState& queue = *lane->queue;
  std::vector<WaitReason> reasons;
  if (dispatcher_.stopped()) {
    reasons.push_back({Code::kBrokerStopping, "the broker is stopping and hands out no more tasks", {}, "", 0});
  }
  if (ReadyIndex::IsBlocked(queue)) {
    reasons.push_back({Code::kQueuePaused, fmt::format("queue {} is paused", queue.name), {}, "", 0});
  }
  const Dispatcher::WorkersFor workers = dispatcher_.FindWorkers(queue, task.type);
  AddWorkers(task, queue, workers, &reasons);
  AddKey(task, lane, tasks_before, &reasons);
  AddMeters(task, *lane, &reasons);
  if (due > context_.now.wall) {
    const bool retry = task.record && task.record->state() == static_cast<uint32_t>(State::kRetryable);
    reasons.push_back(
        {Code::kNotDue,
         fmt::format("it is not due yet: {} in {}", retry ? "its next attempt is" : "it runs", After(due)),
         {},
         "",
         due});
  }
  AddBusy(task, queue, workers, &reasons);
  return reasons;
}

void Explainer::AddWorkers(const Lifecycle::StoredTask& task, const QueueState& queue,
                           const Dispatcher::WorkersFor& workers, std::vector<WaitReason>* reasons) {
  const std::string_view type = context_.state.TypeName(task.type);
  if (workers.fitting.connected == 0 && workers.without_labels == 0) {
    reasons->push_back(
        {Code::kNoWorker, fmt::format("no connected worker handles type {} in queue {}", type, queue.name), {}, "", 0});
  } else if (workers.fitting.connected == 0) {
    reasons->push_back(
        {Code::kNoWorkerWithLabels,
         fmt::format("no worker that handles type {} in queue {} has the labels {}: {} {} connected, "
                     "without {}",
                     type, queue.name, LabelsShown(context_.state.TypeLabels(task.type)), workers.without_labels,
                     workers.without_labels == 1 ? "is" : "are", fmt::join(workers.missing, ", ")),
         {},
         "",
         0});
  } else if (workers.fitting.draining == workers.fitting.connected) {
    reasons->push_back({Code::kWorkersDraining,
                        fmt::format("every worker that handles type {} in queue {} is draining", type, queue.name),
                        {},
                        "",
                        0});
  }
}

void Explainer::AddBusy(const Lifecycle::StoredTask& task, const QueueState& queue,
                        const Dispatcher::WorkersFor& workers, std::vector<WaitReason>* reasons) {
  uint32_t busy = 0, slots = 0, held = 0;
  for (const auto& [number, session] : dispatcher_.sessions().all()) {
    const auto& fitting = workers.subscriptions;
    if (std::find(fitting.begin(), fitting.end(), session->subscription) == fitting.end()) continue;
    switch (dispatcher_.WhyNot(*session, queue.id, task.type)) {
      case Unwilling::kNo:
        return;
      case Unwilling::kAway:
      case Unwilling::kDraining:
        continue;
      default:
        ++busy;
        slots += session->concurrency;
        held += context_.state.LeasesOf(number).count;
    }
  }
  if (busy == 0) return;
  reasons->push_back(
      {Code::kWorkersBusy,
       fmt::format("no worker that handles type {} in queue {} has room: {} of them {} {} tasks on {} "
                   "slots",
                   context_.state.TypeName(task.type), queue.name, busy, busy == 1 ? "has" : "have", held, slots),
       {},
       "",
       0});
}

void Explainer::AddKey(const Lifecycle::StoredTask& task, Lane* lane, uint64_t tasks_before,
                       std::vector<WaitReason>* reasons) {
  if (!lane->key.fifo) return;
  TaskId holder;
  if (lane->hold != nullptr && lane->hold->task != task.id) {
    holder = lane->hold->task;
    WaitReason reason{Code::kKeyHeld, fmt::format("its key is held by task {}", holder.ToString()), {holder}, "", 0};
    if (const Lease* lease = context_.state.FindLease(holder)) {
      const auto& sessions = dispatcher_.sessions().all();
      const auto session = sessions.find(lease->session);
      if (session != sessions.end() && !session->second->connected()) {
        const Session& away = *session->second;
        reason.until = context_.now.wall + std::max<Span>(away.deadline - context_.now.elapsed, 0);
        if (away.awaited) reason.code = Code::kReclaim;
        reason.text += fmt::format(", whose worker {} {} and has {} to come back", away.worker_name,
                                   away.awaited ? "was lost with a restart of the broker" : "is not connected",
                                   After(reason.until));
      } else {
        reason.text += ", which is running";
      }
    } else if (lane->hold->due == kNever) {
      reason.until = kNever;
      reason.text += ", which is dead and keeps it: redrive or delete that task, or release the key";
    } else {
      // Its own reasons are not this task's; but it does not run before then.
      if (lane->hold->due > context_.now.wall) reason.until = lane->hold->due;
      reason.text += lane->hold->due > context_.now.wall
                         ? fmt::format(", which runs again in {}", After(lane->hold->due))
                         : std::string(", which waits to run again");
    }
    reasons->push_back(std::move(reason));
  } else if (lane->hold != nullptr) {
    return;
  }
  const auto first = dispatcher_.deliverer().FirstOf(lane);
  uint64_t before = tasks_before;
  if (before == 0 && holder.empty() && first && *first != task.id) {
    before = 1;  // nobody has counted; one at least
  }
  if (!holder.empty() && lane->hold->due != kNever && before > 0) --before;  // it waits itself
  if (before == 0) return;
  WaitReason turn{Code::kKeyTurn, "", {}, "", 0};
  if (first && *first != task.id && *first != holder) {
    turn.tasks.push_back(*first);
    turn.text = fmt::format("task {} of its key is before it", first->ToString());
    if (before > 1) turn.text += fmt::format(", and {} more", before - 1);
  } else {
    turn.text = fmt::format("{} tasks of its key are before it", before);
  }
  reasons->push_back(std::move(turn));
}

void Explainer::AddMeters(const Lifecycle::StoredTask& task, const Lane& lane, std::vector<WaitReason>* reasons) {
  Meters& meters = dispatcher_.meters();
  if (!meters.any()) return;
  const TaskPlace place = dispatcher_.deliverer().PlaceOf(lane, task.type);
  for (const MeterVerdict& closed : meters.CheckAll(place, task.extras().cost)) {
    WaitReason reason{closed.state == MeterState::kCooled ? Code::kCooling : Code::kThrottled,
                      meters.Explain(closed),
                      {},
                      meters.ThrottleOf(closed),
                      closed.opens};
    if (closed.state == MeterState::kFull) reason.tasks = meters.RunningOf(closed.key, kTasksShown);
    reasons->push_back(std::move(reason));
  }
}

}  // namespace penstock::broker
