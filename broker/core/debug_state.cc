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
        "cancelled={} died={}{}{}{}\n",
        name, c.scheduled, c.available, c.running, c.retryable, c.dead, c.enqueued_total, c.completed_total,
        c.failed_total, c.cancelled_total, c.dead_total, queue->paused ? " paused" : "",
        queue->draining ? " draining" : "",
        queue->settings.max_waiting_bytes != 0 ? fmt::format(" bytes={}", queue->waiting_bytes) : "");
  }
  for (const auto& [id, lane] : state.lanes()) {
    if (!lane->has_waiting() && lane->hold == nullptr) continue;
    out += fmt::format("lane {} queue={} type={} priority={} fresh={} timed={} due={} runs=", id.value(),
                       lane->key.queue.value(), lane->key.type.value(), lane->key.priority, lane->fresh_count,
                       lane->timed_count(), lane->timed_due());
    lane->runs.VisitFirst([&](const FreshRun& run) { out += fmt::format("{}+{} ", run.block.value(), run.position); });
    if (lane->runs.segment_begin() < lane->runs.segment_end())
      out += fmt::format("[{}..{}) ", lane->runs.segment_begin(), lane->runs.segment_end());
    lane->runs.VisitBack([&](const FreshRun& run) { out += fmt::format("{} ", run.block.value()); });
    if (lane->key.fifo) out += fmt::format("key={:016x} ", lane->key.name);
    if (lane->group != 0) out += fmt::format("group={:016x} ", lane->group);
    if (lane->hold != nullptr) {
      out += fmt::format("held by {}{} ", lane->hold->task.ToString(),
                         lane->hold->due == kNever ? "" : fmt::format(" due {}", lane->hold->due));
    }
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
  for (const auto& [key, times] : state.meter_times()) {
    out += fmt::format("meter {}/{:016x} full={} cooled={}\n", key.throttle.value(), key.scope, times.full,
                       times.cooled_until);
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
