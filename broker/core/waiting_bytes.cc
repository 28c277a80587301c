#include "broker/core/waiting_bytes.h"

#include <string>
#include <utility>
#include <vector>

#include "broker/core/lane_head.h"
#include "broker/core/state_codec.h"

namespace penstock::broker {
namespace {

// Counted at once when a limit is set: a few milliseconds.
constexpr uint64_t kTasksCounted = 10'000;

bool VisitRun(CoreContext& context, const FreshRun& run, absl::FunctionRef<bool(TaskId task, uint64_t size)> visit) {
  const BlockState* state = context.state.FindBlock(run.block);
  auto block = context.blocks.Load(run.block, state != nullptr && state->compacted);
  if (!block.ok()) return true;
  const auto slots = (*block)->FreshSlots(run.entry);
  for (size_t position = run.position; position < slots.size(); ++position) {
    if (state != nullptr && state->is_gone(slots[position])) continue;
    const TaskId task(context.state.partition(), run.block.value(), slots[position]);
    if (!visit(task, (*block)->spec(slots[position]).size())) return false;
  }
  return true;
}

}  // namespace

bool VisitWaiting(CoreContext& context, Lifecycle& lifecycle, const Lane& lane, bool due_only,
                  absl::FunctionRef<bool(TaskId task, uint64_t size)> visit) {
  bool more = true;
  auto run = [&](const FreshRun& fresh) { more = more && VisitRun(context, fresh, visit); };
  if (lane.fresh_count > 0) {
    lane.runs.VisitFirst(run);
    for (uint64_t segment = lane.runs.segment_begin(); more && segment < lane.runs.segment_end(); ++segment) {
      const std::string key = context.keys.Segment(lane.id, segment);
      auto value = context.commit.Get(Family::kIndex, key);
      if (!value.ok()) continue;
      auto body = OpenValue(key, *value);
      if (!body.ok()) continue;
      auto runs = DecodeRuns(*body, lane.key.fifo);
      if (!runs.ok()) continue;
      for (const FreshRun& fresh : *runs) run(fresh);
    }
    lane.runs.VisitBack(run);
  }
  if (!more || (due_only ? lane.timed_due() : lane.timed_count()) == 0) return more;
  std::vector<TimerRun> timers;
  const absl::Status status =
      context.commit.Scan(Family::kIndex, context.keys.FirstOfLane('T', lane.id), context.keys.PastLane('T', lane.id),
                          [&](std::string_view key, std::string_view value) {
                            const TimerKey timer = ParseTimerKey(key);
                            TimerRun found{{timer.due, timer.task}, 1, TimerKind::kScheduled};
                            if (due_only && found.position > lane.due_cursor()) return false;
                            auto body = OpenValue(key, value);
                            if (body.ok() && DecodeTimer(*body, &found.count, &found.kind)) timers.push_back(found);
                            return true;
                          });
  if (!status.ok()) context.Unreadable(status, "timers");
  for (const TimerRun& timer : timers) {
    for (uint32_t i = 0; i < timer.count; ++i) {
      const TaskId task(timer.position.task.value() + i);
      const BlockState* state = context.state.FindBlock(BlockId(task.block()));
      if (timer.kind == TimerKind::kScheduled && state != nullptr && state->is_gone(task.slot())) continue;
      auto stored = lifecycle.Load(task);
      if (!stored.ok() || stored->block == nullptr) continue;
      // What this batch has taken of a run still shows.
      const bool taken = context.state.FindLease(task) != nullptr ||
                         (stored->record && IsFinal(static_cast<State>(stored->record->state())));
      if (!taken && !visit(task, stored->spec().size())) return false;
    }
  }
  return true;
}

void StartCountingBytes(CoreContext& context, Lifecycle& lifecycle, QueueState* queue, uint64_t before) {
  const bool counts = queue->settings.max_waiting_bytes != 0;
  if (counts == (before != 0)) return;
  queue->bytes_from = 0;
  uint64_t bytes = 0;
  if (counts && queue->waiting() > kTasksCounted) {
    queue->bytes_from = context.state.next().block;
  } else if (counts) {
    for (LaneId id : queue->lanes) {
      VisitWaiting(context, lifecycle, *context.state.FindLane(id), false, [&](TaskId, uint64_t size) {
        bytes += size;
        return true;
      });
    }
  }
  context.state.SetBytes(queue, bytes);
}

}  // namespace penstock::broker
