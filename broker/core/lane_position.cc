#include "broker/core/lane_position.h"

#include <algorithm>

#include "broker/core/state_codec.h"

namespace penstock::broker {
namespace {

// Looked at, at most: blocks at either end of the lane, its stored segments (256 runs each), timers.
constexpr uint64_t kBlocksRead = 32;
constexpr int kSegmentsRead = 16;
constexpr uint64_t kSegmentRuns = 256;
constexpr int kTimersRead = 1'024;
constexpr uint32_t kWholeRun = UINT32_MAX;

uint64_t Scaled(uint64_t count, uint64_t part, uint64_t whole) {
  return whole == 0 ? 0
                    : static_cast<uint64_t>(static_cast<double>(count) * static_cast<double>(part) /
                                            static_cast<double>(whole));
}

}  // namespace

CountEstimate LanePosition::Before(Lane* lane, const Lifecycle::StoredTask& task, Time since) {
  // A task that holds its key is next, whatever else waits.
  if (lane->hold != nullptr && lane->hold->task == task.id) return {};
  const bool is_fresh = !task.record && task.extras().run_at == 0;
  CountEstimate before = CountFresh(*lane, task, since, is_fresh);
  // A timer that is due goes before what came then or later.
  const TimerPosition end = is_fresh ? TimerPosition{since + 1, TaskId()} : TimerPosition{since, task.id};
  uint64_t timed = 0;
  const bool complete = timers_.CountBefore(lane, end, kTimersRead, &timed);
  const uint64_t others = lane->timed_count() - std::min<uint64_t>(lane->timed_count(), is_fresh ? 0 : 1);
  before.low += timed;
  before.high += complete ? timed : others;
  before.expected += complete ? timed : (timed + others) / 2;
  // The holder's turn comes first, wherever its timer stands.
  if (lane->hold != nullptr && lane->hold->due != kNever && TimerPosition{lane->hold->due, lane->hold->task} >= end) {
    ++before.low;
    ++before.expected;
    ++before.high;
  }
  return before;
}

LanePosition::Runs LanePosition::ReadRuns(const Lane& lane) {
  Runs all;
  lane.runs.VisitFirst([&](const FreshRun& run) { all.first.push_back(run); });
  uint64_t segment = lane.runs.segment_begin();
  for (int read = 0; segment < lane.runs.segment_end() && read < kSegmentsRead; ++segment, ++read) {
    const std::string key = context_.keys.Segment(lane.id, segment);
    auto value = context_.commit.Get(Family::kIndex, key);
    if (!value.ok()) break;
    auto body = OpenValue(key, *value);
    if (!body.ok()) break;
    auto runs = DecodeRuns(*body, lane.key.fifo);
    if (!runs.ok()) break;
    all.first.insert(all.first.end(), runs->begin(), runs->end());
  }
  all.unread = (lane.runs.segment_end() - segment) * kSegmentRuns;
  lane.runs.VisitBack([&](const FreshRun& run) { all.last.push_back(run); });
  return all;
}

uint64_t LanePosition::CountRun(const FreshRun& run, uint32_t slot) {
  const BlockState* state = context_.state.FindBlock(run.block);
  auto block = context_.blocks.Load(run.block, state != nullptr && state->compacted);
  if (!block.ok()) return 0;
  const auto slots = (*block)->FreshSlots(run.entry);
  uint64_t count = 0;
  for (size_t position = run.position; position < slots.size() && slots[position] < slot; ++position) {
    if (state == nullptr || !state->is_gone(slots[position])) ++count;
  }
  return count;
}

CountEstimate LanePosition::CountFirst(const Lane& lane, const Runs& all, uint64_t runs) {
  auto run_at = [&](uint64_t i) {
    return i < all.first.size() ? all.first[i] : all.last[i - all.first.size() - all.unread];
  };
  auto is_read = [&](uint64_t i) { return i < all.first.size() || i >= all.first.size() + all.unread; };
  CountEstimate before;
  uint64_t counted = 0;
  for (; counted < std::min(runs, kBlocksRead) && is_read(counted); ++counted)
    before.low += CountRun(run_at(counted), kWholeRun);
  before.expected = before.high = before.low;
  if (counted == runs) return before;
  uint64_t behind = 0, counted_behind = 0;
  for (uint64_t i = all.size(); i-- > runs && counted_behind < kBlocksRead && is_read(i); ++counted_behind) {
    behind += CountRun(run_at(i), kWholeRun);
  }
  const uint64_t waiting = lane.fresh_count - std::min(lane.fresh_count, behind);
  if (counted_behind == all.size() - runs) return {waiting, waiting, waiting};
  // What was not counted spreads over the runs that were not looked at.
  const uint64_t rest = waiting - std::min(waiting, before.low);
  before.high = waiting;
  before.expected = before.low + Scaled(rest, runs - counted, all.size() - counted - counted_behind);
  return before;
}

CountEstimate LanePosition::CountFresh(const Lane& lane, const Lifecycle::StoredTask& task, Time since, bool is_fresh) {
  if (lane.fresh_count == 0) return {};
  const Runs all = ReadRuns(lane);
  if (!is_fresh) {
    // Runs that came before its time.
    auto goes_before = [&](const FreshRun& run) { return !Timers::GoesBefore(since, run.since); };
    const auto first = std::partition_point(all.first.begin(), all.first.end(), goes_before);
    const auto last = std::partition_point(all.last.begin(), all.last.end(), goes_before);
    if (first != all.first.end() || (all.unread == 0 && all.last.empty())) {
      return CountFirst(lane, all, static_cast<uint64_t>(first - all.first.begin()));
    }
    if (last != all.last.begin() || all.unread == 0) {
      return CountFirst(lane, all, all.first.size() + all.unread + static_cast<uint64_t>(last - all.last.begin()));
    }
    CountEstimate before = CountFirst(lane, all, all.first.size() + all.unread / 2);
    before.high = lane.fresh_count;
    return before;
  }
  const uint32_t entry = task.block->entry_of(task.id.slot());
  auto is_own = [&](const FreshRun& run) { return run.block == task.block->id() && run.entry == entry; };
  uint64_t index = 0;
  const FreshRun* own = nullptr;
  if (auto found = std::find_if(all.first.begin(), all.first.end(), is_own); found != all.first.end()) {
    own = &*found;
    index = static_cast<uint64_t>(found - all.first.begin());
  } else if (found = std::find_if(all.last.begin(), all.last.end(), is_own); found != all.last.end()) {
    own = &*found;
    index = all.first.size() + all.unread + static_cast<uint64_t>(found - all.last.begin());
  }
  if (own == nullptr) {
    // In a segment that was not read: numbers of blocks grow with time.
    const uint64_t begin = all.first.empty() ? 0 : all.first.back().block.value();
    const uint64_t end = all.last.empty() ? context_.state.next().block : all.last.front().block.value();
    const uint64_t at = std::clamp(task.id.block(), begin, std::max(begin, end));
    CountEstimate before = CountFirst(lane, all, all.first.size() + Scaled(all.unread, at - begin, end - begin));
    before.high = lane.fresh_count - 1;
    before.expected = std::min(before.expected, before.high);
    return before;
  }
  CountEstimate before = CountFirst(lane, all, index);
  const uint64_t in_run = CountRun(*own, task.id.slot());
  before.low += in_run;
  before.expected += in_run;
  before.high = std::min(before.high + in_run, lane.fresh_count - 1);
  return before;
}

}  // namespace penstock::broker
