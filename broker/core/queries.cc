#include "broker/core/queries.h"

#include <algorithm>

#include "broker/core/state_codec.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Lanes that one list looks at, so that it stops nobody; it goes on from there with its next command.
constexpr uint32_t kLanesLookedAt = 4'096;

}  // namespace

TaskSnapshot Queries::RunningSnapshot(const Lease& lease) {
  TaskSnapshot snapshot;
  snapshot.task = lease.task;
  snapshot.place = TaskSnapshot::Place::kRunning;
  snapshot.state = State::kRunning;
  snapshot.attempt = lease.attempt;
  snapshot.start_time = lease.started ? lease.start_time : 0;
  snapshot.cancel_requested = lease.cancel_requested;
  snapshot.stuck = lease.stuck;
  if (const Session* session = sessions_.Find(lease.session)) snapshot.worker = session->worker_name;
  if (const Sessions::Progress* progress = sessions_.ProgressOf(lease.task)) {
    snapshot.progress_percent = progress->percent;
    snapshot.progress_text = progress->text;
    snapshot.progress_time = progress->time;
    snapshot.progress_remaining = progress->Remaining(context_.now.wall);
  }
  return snapshot;
}

TaskSnapshot Queries::Snapshot(TaskId task) {
  if (const Lease* lease = context_.state.FindLease(task)) return RunningSnapshot(*lease);
  TaskSnapshot snapshot;
  snapshot.task = task;
  const BlockState* block = context_.state.FindBlock(BlockId(task.block()));
  if (block != nullptr && block->is_finished(task.slot())) {
    snapshot.place = TaskSnapshot::Place::kFinished;
    snapshot.finishes = block->finishes;
    return snapshot;
  }
  auto stored = lifecycle_.Load(task);
  if (!stored.ok()) return snapshot;
  if (stored->record && IsFinal(static_cast<State>(stored->record->state()))) {
    snapshot.state = static_cast<State>(stored->record->state());
    return snapshot;
  }
  const Lane* lane = context_.state.FindLane(stored->lane);
  const LaneId born_in = stored->record ? LaneId(stored->record->lane_id()) : stored->block->lane_of(task.slot()).lane;
  if (lane == nullptr || lane->id != born_in) {
    snapshot.place = TaskSnapshot::Place::kGone;
    return snapshot;
  }
  const Time due = stored->record ? stored->record->run_time() : stored->extras().run_at;
  if (due <= context_.now.wall) {
    snapshot.state = State::kAvailable;
    snapshot.waiting_reason = explainer_.WaitingReason(*stored);
  } else {
    snapshot.state = stored->record && stored->record->state() == static_cast<uint32_t>(State::kRetryable)
                         ? State::kRetryable
                         : State::kScheduled;
  }
  return snapshot;
}

absl::StatusOr<std::vector<FreshRun>> Queries::LoadSegment(const Lane& lane, uint64_t segment) {
  const std::string key = context_.keys.Segment(lane.id, segment);
  ASSIGN_OR_RETURN(const std::string value, context_.commit.Get(Family::kIndex, key));
  ASSIGN_OR_RETURN(const std::string_view body, OpenValue(key, value));
  return DecodeRuns(body, lane.key.fifo);
}

uint64_t Queries::SegmentOf(const Lane& lane, BlockId block) {
  uint64_t begin = lane.runs.segment_begin();
  if (block.empty()) return begin;
  // The runs of a lane are in the order of their blocks: the last segment that begins at or before the block.
  uint64_t end = lane.runs.segment_end();
  while (begin + 1 < end) {
    const uint64_t middle = begin + (end - begin) / 2;
    const auto runs = LoadSegment(lane, middle);
    if (!runs.ok() || runs->empty() || block < runs->front().block) {
      end = middle;
    } else {
      begin = middle;
    }
  }
  return begin;
}

void Queries::Answer(const ListLanesCommand& command) {
  const QueueState* queue = context_.state.FindQueue(command.queue);
  if (queue == nullptr) {
    context_.ReplyTo(command.ticket, absl::NotFoundError(fmt::format("there is no queue {}", command.queue)));
    return;
  }
  LanesReply reply;
  reply.queue = queue->id;
  uint32_t runs_left = command.max_runs;
  uint32_t lanes_left = kLanesLookedAt;
  LaneId from_lane = command.from_lane;
  if (command.key != 0) {
    // A key has one lane.
    const Lane* lane = context_.state.FindLane(LaneKey::Fifo(queue->id, command.key));
    if (lane == nullptr || lane->id < from_lane) {
      context_.ReplyTo(command.ticket, std::move(reply));
      return;
    }
    from_lane = lane->id;
  }
  for (auto it = queue->lanes.lower_bound(from_lane); it != queue->lanes.end(); ++it) {
    Lane* lane = context_.state.FindLane(*it);
    if (command.key != 0 && lane->id != from_lane) break;
    if (runs_left == 0 || lanes_left-- == 0) {
      reply.more = true;
      reply.next_lane = lane->id;
      break;
    }
    if (!lane->has_waiting()) continue;
    // The tasks of a FIFO key may be of several groups.
    if (command.group != 0 && !lane->key.fifo && lane->group != command.group) continue;
    LaneView view;
    view.lane = lane->id;
    view.type = context_.state.TypeName(lane->key.type);
    view.priority = lane->key.priority;
    view.has_timed = lane->timed_count() > 0;
    const BlockId from = lane->id == command.from_lane ? command.from_block : BlockId();
    auto add = [&](const FreshRun& run) {
      if (run.block < from) return true;
      if (runs_left == 0) {
        reply.more = true;
        reply.next_lane = lane->id;
        reply.next_block = run.block;
        return false;
      }
      --runs_left;
      LaneRun listed;
      listed.block = run.block;
      listed.entry = run.entry;
      if (const BlockState* state = context_.state.FindBlock(run.block)) {
        // Touched: say exactly what still waits. The block is in the cache or the store; its directory names the slots.
        listed.compacted = state->compacted;
        if (auto block = context_.blocks.Load(run.block, state->compacted); block.ok()) {
          const auto slots = (*block)->FreshSlots(run.entry);
          for (size_t position = run.position; position < slots.size(); ++position) {
            if (!state->is_gone(slots[position])) listed.slots.push_back(slots[position]);
          }
        }
        if (listed.slots.empty()) return true;
      }
      view.runs.push_back(std::move(listed));
      return true;
    };
    bool room = true;
    if (lane->fresh_count > 0) {
      auto add_if_room = [&](const FreshRun& run) { room = room && add(run); };
      lane->runs.VisitFirst(add_if_room);
      // The middle of a very long lane is in the store.
      for (uint64_t segment = SegmentOf(*lane, from); room && segment < lane->runs.segment_end(); ++segment) {
        auto runs = LoadSegment(*lane, segment);
        if (!runs.ok()) break;
        for (size_t i = 0; room && i < runs->size(); ++i) room = add((*runs)[i]);
      }
      lane->runs.VisitBack(add_if_room);
    }
    reply.lanes.push_back(std::move(view));
    if (!room) break;
  }
  context_.ReplyTo(command.ticket, std::move(reply));
}

void Queries::Answer(const ListRunningCommand& command) {
  const QueueState* queue = context_.state.FindQueue(command.queue);
  if (queue == nullptr) {
    context_.ReplyTo(command.ticket, absl::NotFoundError(fmt::format("there is no queue {}", command.queue)));
    return;
  }
  std::vector<const Lease*> leases;
  context_.state.ForEachLease([&](const Lease& lease) {
    if (lease.queue == queue->id && lease.task > command.after) leases.push_back(&lease);
  });
  const size_t count = std::min<size_t>(command.limit, leases.size());
  std::partial_sort(leases.begin(), leases.begin() + static_cast<std::ptrdiff_t>(count), leases.end(),
                    [](const Lease* a, const Lease* b) { return a->task < b->task; });
  RunningReply reply;
  reply.more = count < leases.size();
  for (size_t i = 0; i < count; ++i) reply.tasks.push_back(RunningSnapshot(*leases[i]));
  context_.ReplyTo(command.ticket, std::move(reply));
}

void Queries::Answer(const StatusCommand& command, uint64_t epoch) {
  StatusReply reply;
  dispatcher_.CountWorkers();
  for (const auto& [name, queue] : context_.state.queues()) reply.queues.push_back(queues_.View(*queue));
  for (const auto& [number, session] : sessions_.all()) {
    WorkerView view;
    view.number = number;
    view.name = session->worker_name;
    view.host = session->host;
    view.pid = session->pid;
    view.version = session->version;
    view.labels = session->labels;
    view.queues = session->queues;
    for (const HandledType& type : session->types) view.types.push_back(type.type);
    view.concurrency = session->concurrency;
    const LeaseList& leases = context_.state.LeasesOf(number);
    view.running = leases.count;
    view.started = leases.started;
    view.connect_time = session->connect_time;
    view.silence = context_.now.begin() - session->last_heard;
    view.connected = session->connected();
    view.draining = session->draining;
    view.stuck_tasks = session->stuck_tasks;
    // Deliveries start in about their order: the first started one has run for longest, or nearly.
    for (uint32_t index = leases.first; index != kNoLease; index = context_.state.LeaseAt(index).next) {
      const Lease& lease = context_.state.LeaseAt(index);
      if (lease.started) view.oldest_run = std::max(view.oldest_run, context_.now.wall - lease.start_time);
    }
    reply.workers.push_back(std::move(view));
  }
  reply.epoch = epoch;
  reply.type_count = context_.state.type_count();
  reply.lane_count = context_.state.lanes().size();
  reply.running_count = context_.state.lease_count();
  const Meters& meters = dispatcher_.meters();
  reply.throttles = meters.Loads();
  reply.cooled_waiting = meters.CooledWaiting();
  context_.ReplyTo(command.ticket, std::move(reply));
}

}  // namespace penstock::broker
