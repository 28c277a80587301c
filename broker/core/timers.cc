#include "broker/core/timers.h"

#include <algorithm>
#include <cstdlib>

namespace penstock::broker {
namespace {

constexpr int kRunsPerFill = 64;
constexpr int kRunsPerAdvance = 1'024;

TimerPosition LastOf(const TimerRun& run) {
  return {run.position.due, TaskId(run.position.task.value() + run.count - 1)};
}

}  // namespace

Counter CounterOf(TimerKind kind) {
  switch (kind) {
    case TimerKind::kScheduled:
    case TimerKind::kPostponed:
      return Counter::kScheduled;
    case TimerKind::kRetryable:
      return Counter::kRetryable;
    case TimerKind::kReturned:
      return Counter::kAvailable;
  }
  std::abort();
}

LaneHead& Timers::HeadOf(Lane* lane) {
  if (!lane->head) lane->head = std::make_unique<LaneHead>();
  return *lane->head;
}

void Timers::SetWake(Lane* lane, Time wake) {
  const Time before = lane->wake();
  if (before == wake) return;
  if (before != kNever) wakes_.erase({before, lane->id});
  CoreState::TimersOf(lane).wake = wake;
  if (wake != kNever) wakes_.insert({wake, lane->id});
}

void Timers::Drop(Lane* lane) {
  SetWake(lane, kNever);
  std::erase_if(partials_, [&](const Partial& partial) { return partial.lane == lane->id; });
}

void Timers::Restore(Lane* lane) {
  if (lane->timed_count() == lane->timed_due()) return;
  Time wake = kNever;
  // The cursor may stand in a run of which it counted every task: start behind it.
  const std::string from =
      context_.keys.Timer(lane->id, lane->due_cursor().due, TaskId(lane->due_cursor().task.value() + 1));
  absl::Status status = context_.commit.Scan(Family::kIndex, from, context_.keys.PastLane('T', lane->id),
                                             [&](std::string_view key, auto) {
                                               wake = ParseTimerKey(key).due;
                                               return false;
                                             });
  if (!status.ok()) context_.Unreadable(status, "timers");
  SetWake(lane, wake);
}

void Timers::Add(Lane* lane, Time due, TaskId task, uint32_t count, TimerKind kind) {
  const TimerRun run{{due, task}, count, kind};
  context_.PutBody(Family::kIndex, context_.keys.Timer(lane->id, due, task), EncodeTimer(count, kind));
  const bool counted_as_due = run.position <= lane->due_cursor();
  context_.state.ChangeTimed(lane, count, counted_as_due ? count : 0);
  if (!counted_as_due) {
    context_.state.Count(lane->queue, CounterOf(kind), count);
    SetWake(lane, std::min(lane->wake(), due));
    return;
  }
  context_.state.Count(lane->queue, Counter::kAvailable, count);
  if (lane->head == nullptr) return;
  lane->head->lowest = std::min(lane->head->lowest, run.position);
  // Keep the buffer sorted and without holes; past its end the store is asked when it comes to that.
  auto& timers = lane->head->timers;
  auto place = std::lower_bound(timers.begin(), timers.end(), run,
                                [](const TimerRun& a, const TimerRun& b) { return a.position < b.position; });
  if (place != timers.end() || lane->head->timers_complete) timers.insert(place, run);
}

void Timers::Remove(Lane* lane, Time due, TaskId task, TimerKind kind) {
  const TimerPosition position{due, task};
  context_.commit.Delete(Family::kIndex, context_.keys.Timer(lane->id, due, task));
  const bool was_due = position <= lane->due_cursor();
  context_.state.ChangeTimed(lane, -1, was_due ? -1 : 0);
  context_.state.Count(lane->queue, was_due ? Counter::kAvailable : CounterOf(kind), -1);
  if (lane->head != nullptr) {
    std::erase_if(lane->head->timers, [&](const TimerRun& run) { return run.position == position; });
  }
}

void Timers::RemoveFromRun(Lane* lane, Time due, TaskId task) {
  const bool was_due = TimerPosition{due, task} <= lane->due_cursor();
  context_.state.ChangeTimed(lane, -1, was_due ? -1 : 0);
  context_.state.Count(lane->queue, was_due ? Counter::kAvailable : Counter::kScheduled, -1);
}

void Timers::DropBlock(const BlockState& state) {
  if (state.gone.empty()) return;
  auto block = context_.blocks.Load(state.id, state.compacted);
  if (!block.ok()) {
    context_.Unreadable(block.status(), "block");
    return;
  }
  // A lane whose front run is all cancelled must not take it from the block that it remembers.
  for (const TaskBlock::Entry& entry : (*block)->entries()) {
    Lane* lane = context_.state.FindLane(entry.lane);
    if (lane == nullptr || lane->head == nullptr || lane->head->block == nullptr) continue;
    if (lane->head->block->id() == state.id) lane->head->block = nullptr;
  }
  for (uint32_t slot = 0; slot < state.total; ++slot) {
    const Time due = (*block)->extras(slot).run_at;
    if (due == 0 || !state.is_gone(slot)) continue;
    // Whatever is left of a run starts at one of its gone slots: deleting the key of each finds it.
    const TimerPosition position{due, TaskId(context_.state.partition(), state.id.value(), slot)};
    const LaneId lane_id = (*block)->lane_of(slot).lane;
    context_.commit.Delete(Family::kIndex, context_.keys.Timer(lane_id, position.due, position.task));
    Lane* lane = context_.state.FindLane(lane_id);
    if (lane == nullptr || lane->head == nullptr) continue;
    std::erase_if(lane->head->timers, [&](const TimerRun& run) {
      return run.kind == TimerKind::kScheduled && run.position.task.block() == state.id.value();
    });
    std::erase_if(partials_, [&](const Partial& partial) {
      return partial.lane == lane_id && partial.rest.position.task.block() == state.id.value();
    });
  }
}

uint32_t Timers::Living(const TimerRun& run) {
  const BlockState* block = context_.state.FindBlock(BlockId(run.position.task.block()));
  if (run.kind != TimerKind::kScheduled || block == nullptr || block->gone.empty()) return run.count;
  uint32_t living = 0;
  for (uint32_t i = 0; i < run.count; ++i) living += !block->is_gone(run.position.task.slot() + i);
  return living;
}

bool Timers::Advance() {
  int budget = kRunsPerAdvance;
  while (!wakes_.empty() && wakes_.begin()->first <= context_.now.wall) {
    Lane* lane = context_.state.FindLane(wakes_.begin()->second);
    if (lane == nullptr) std::abort();  // Drop is called before a lane goes.
    if (budget <= 0) return false;
    TimerPosition cursor = lane->due_cursor();
    Time wake = kNever;
    int64_t scheduled = 0, retryable = 0, due = 0;
    const std::string from = context_.keys.Timer(lane->id, cursor.due, TaskId(cursor.task.value() + 1));
    absl::Status status = context_.commit.Scan(
        Family::kIndex, from, context_.keys.PastLane('T', lane->id), [&](std::string_view key, std::string_view value) {
          const TimerKey timer = ParseTimerKey(key);
          if (timer.due > context_.now.wall || budget-- <= 0) {
            wake = timer.due;
            return false;
          }
          TimerRun run{{timer.due, timer.task}, 1, TimerKind::kScheduled};
          auto body = OpenValue(key, value);
          if (!body.ok() || !DecodeTimer(*body, &run.count, &run.kind)) {
            context_.Unreadable(body.ok() ? absl::DataLossError("broken") : body.status(),
                                "timer of task " + timer.task.ToString());
            return true;
          }
          const int64_t living = Living(run);
          if (run.kind == TimerKind::kScheduled || run.kind == TimerKind::kPostponed) scheduled += living;
          if (run.kind == TimerKind::kRetryable) retryable += living;
          due += living;
          cursor = LastOf(run);
          return true;
        });
    if (!status.ok()) {
      context_.Unreadable(status, "timers");
      wake = context_.now.wall + kMinute;
    }
    context_.state.Count(lane->queue, Counter::kScheduled, -scheduled);
    context_.state.Count(lane->queue, Counter::kRetryable, -retryable);
    context_.state.Count(lane->queue, Counter::kAvailable, scheduled + retryable);
    context_.state.ChangeTimed(lane, 0, due);
    context_.state.SetDueCursor(lane, cursor);
    if (lane->head != nullptr) lane->head->timers_complete = false;
    SetWake(lane, wake);
    if (budget <= 0) return false;
  }
  return true;
}

void Timers::Fill(Lane* lane) {
  LaneHead& head = HeadOf(lane);
  if (!head.timers.empty() || head.timers_complete) return;
  int room = kRunsPerFill;
  bool complete = true;
  // What was taken in this batch is deleted in Flush: until then the partial run's stored key still shows.
  absl::Status status =
      context_.commit.Scan(Family::kIndex, context_.keys.Timer(lane->id, head.lowest.due, head.lowest.task),
                           context_.keys.PastLane('T', lane->id), [&](std::string_view key, std::string_view value) {
                             const TimerKey timer = ParseTimerKey(key);
                             if (TimerPosition{timer.due, timer.task} > lane->due_cursor()) return false;
                             if (room-- == 0) {
                               complete = false;
                               return false;
                             }
                             TimerRun run{{timer.due, timer.task}, 1, TimerKind::kScheduled};
                             auto body = OpenValue(key, value);
                             if (body.ok() && DecodeTimer(*body, &run.count, &run.kind)) {
                               head.timers.push_back(run);
                             } else {
                               context_.Unreadable(body.ok() ? absl::DataLossError("broken") : body.status(),
                                                   "timer of task " + timer.task.ToString());
                             }
                             return true;
                           });
  if (!status.ok()) context_.Unreadable(status, "timers");
  head.timers_complete = complete;
}

std::optional<TimerRun> Timers::Peek(Lane* lane) {
  if (lane->timed_due() == 0) return std::nullopt;
  while (true) {
    Fill(lane);
    LaneHead& head = *lane->head;
    if (head.timers.empty()) return std::nullopt;
    TimerRun& run = head.timers.front();
    if (run.kind == TimerKind::kScheduled) {
      // A task of the run may have been cancelled: it was counted out when that happened.
      const BlockState* block = context_.state.FindBlock(BlockId(run.position.task.block()));
      if (block != nullptr && block->is_gone(run.position.task.slot())) {
        context_.state.MarkDirty(lane);
        Take(lane, /*counted=*/false);
        continue;
      }
    }
    return run;
  }
}

void Timers::Take(Lane* lane) { Take(lane, /*counted=*/true); }

void Timers::Take(Lane* lane, bool counted) {
  TimerRun& run = lane->head->timers.front();
  if (counted) {
    context_.state.ChangeTimed(lane, -1, -1);
    context_.state.Count(lane->queue, Counter::kAvailable, -1);
  }
  Partial* partial = nullptr;
  for (Partial& candidate : partials_) {
    if (candidate.lane == lane->id && candidate.rest.position == run.position) partial = &candidate;
  }
  if (run.count == 1) {
    const TimerPosition stored = partial != nullptr ? partial->stored : run.position;
    context_.commit.Delete(Family::kIndex, context_.keys.Timer(lane->id, stored.due, stored.task));
    if (partial != nullptr) partials_.erase(partials_.begin() + (partial - partials_.data()));
    lane->head->lowest = {run.position.due, TaskId(run.position.task.value() + 1)};
    lane->head->timers.pop_front();
    return;
  }
  if (partial == nullptr) {
    partials_.push_back({lane->id, run.position, run});
    partial = &partials_.back();
  }
  run.position.task = TaskId(run.position.task.value() + 1);
  --run.count;
  partial->rest = run;
}

bool Timers::CountBefore(Lane* lane, const TimerPosition& end, int runs_max, uint64_t* count) {
  *count = 0;
  if (lane->timed_count() == 0) return true;
  // All that is due, and nothing else: that is counted already.
  const TimerPosition cursor = lane->due_cursor();
  bool complete = true;
  TimerPosition from;
  if (cursor < end) {
    *count = lane->timed_due();
    if (*count == lane->timed_count()) return true;
    from = {cursor.due, TaskId(cursor.task.value() + 1)};
  } else if (lane->timed_due() == 0) {
    return true;
  } else if (lane->head != nullptr) {
    from = lane->head->lowest;
  }
  absl::Status status = context_.commit.Scan(
      Family::kIndex, context_.keys.Timer(lane->id, from.due, from.task), context_.keys.PastLane('T', lane->id),
      [&](std::string_view key, std::string_view value) {
        const TimerKey timer = ParseTimerKey(key);
        if (TimerPosition{timer.due, timer.task} >= end) return false;
        if (runs_max-- <= 0) {
          complete = false;
          return false;
        }
        TimerRun run{{timer.due, timer.task}, 1, TimerKind::kScheduled};
        auto body = OpenValue(key, value);
        if (!body.ok() || !DecodeTimer(*body, &run.count, &run.kind)) return true;  // reported when it is due
        if (timer.due == end.due && timer.task.block() == end.task.block() && LastOf(run).task >= end.task) {
          run.count = static_cast<uint32_t>(end.task.value() - timer.task.value());
        }
        *count += Living(run);
        return true;
      });
  return complete && status.ok();
}

void Timers::Flush() {
  for (const Partial& partial : partials_) {
    const auto& [lane, stored, rest] = partial;
    context_.commit.Delete(Family::kIndex, context_.keys.Timer(lane, stored.due, stored.task));
    context_.PutBody(Family::kIndex, context_.keys.Timer(lane, rest.position.due, rest.position.task),
                     EncodeTimer(rest.count, rest.kind));
  }
  partials_.clear();
}

}  // namespace penstock::broker
