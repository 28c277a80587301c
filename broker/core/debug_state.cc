#include "broker/core/debug_state.h"

#include <algorithm>
#include <vector>

#include "fmt/format.h"

namespace penstock::broker {

std::string RenderState(const CoreState& state) {
  std::string out;
  for (const auto& [name, queue] : state.queues()) {
    const QueueCounters& c = queue->counters;
    out += fmt::format(
        "queue {} scheduled={} available={} running={} retryable={} dead={} enqueued={} completed={} failed={} "
        "cancelled={} died={}{}{}\n",
        name, c.scheduled, c.available, c.running, c.retryable, c.dead, c.enqueued_total, c.completed_total,
        c.failed_total, c.cancelled_total, c.dead_total, queue->paused ? " paused" : "",
        queue->draining ? " draining" : "");
  }
  for (const auto& [id, lane] : state.lanes()) {
    if (!lane->has_waiting()) continue;
    out += fmt::format("lane {} queue={} type={} priority={} fresh={} timed={} due={} runs=", id.value(),
                       lane->key.queue.value(), lane->key.type.value(), lane->key.priority, lane->fresh_count,
                       lane->timed_count, lane->timed_due);
    for (size_t i = lane->front_index; i < lane->front.size(); ++i) {
      out += fmt::format("{}+{} ", lane->front[i].block.value(), lane->front[i].position);
    }
    if (lane->segment_begin < lane->segment_end)
      out += fmt::format("[{}..{}) ", lane->segment_begin, lane->segment_end);
    for (const FreshRun& run : lane->back) out += fmt::format("{} ", run.block.value());
    out.back() = '\n';
  }
  for (const auto& purged : state.purged_lanes()) {
    out += fmt::format("purged lane {} runs={} segments={}\n", purged.lane.value(), purged.runs.size(),
                       purged.segment_end - purged.segment_begin);
  }
  for (const auto& [id, block] : state.blocks()) {
    out += fmt::format("block {} alive={}/{}{} finished=", id.value(), block->alive, block->total,
                       block->compacted ? " compacted" : "");
    for (uint32_t slot = 0; slot < block->total; ++slot) out += block->is_finished(slot) ? '1' : '0';
    if (!block->gone.empty()) {
      out += " gone=";
      for (uint32_t slot = 0; slot < block->total; ++slot) out += block->is_gone(slot) ? '1' : '0';
    }
    out += '\n';
  }
  std::vector<const Lease*> leases;
  state.ForEachLease([&](const Lease& lease) { leases.push_back(&lease); });
  std::sort(leases.begin(), leases.end(), [](const Lease* a, const Lease* b) { return a->task < b->task; });
  for (const Lease* lease : leases) {
    out += fmt::format("lease {} session={} token={}.{} attempt={}{}{}{}\n", lease->task.ToString(),
                       lease->session.value(), lease->token.value() >> 40, lease->token.value() & ((1ull << 40) - 1),
                       lease->attempt, lease->started ? " started" : "", lease->exceptional ? " record" : "",
                       lease->cancel_requested ? " cancel" : "");
  }
  return out;
}

}  // namespace penstock::broker
