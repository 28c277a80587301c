#ifndef PENSTOCK_BROKER_CORE_OPTIONS_H_
#define PENSTOCK_BROKER_CORE_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "broker/core/command.h"
#include "broker/core/core_types.h"

namespace penstock::broker {

// What the core is told once. The defaults are those of docs and `penstock limits`; broker/options.h validates and
// documents them.
struct CoreOptions {
  uint8_t partition = 0;
  // For looking only: nothing is written, handed out, expired or forgotten, whatever the time. REQUIRES: only commands
  // that ask come (IsQuestion).
  bool paused = false;
  Span lease = 30 * kSecond;  // of a session that names none
  Span session_grace = 3 * kSecond;
  Span reclaim_window = 30 * kSecond;
  QueueSettings queue_defaults;
  // From when on epochs and block numbers follow the clock, see BrokerCore::Recover; 2024. Tests that want small
  // numbers say kNever.
  Time numbers_begin = 1'704'067'200 * kSecond;
  uint32_t max_queues = 10'000;
  uint32_t max_types = 10'000;
  uint32_t max_schedules = 10'000;
  size_t max_schedule_bytes = 64 << 20;  // of the tasks that they hold, in memory
  uint32_t max_throttles = 1'000;
  uint32_t max_sessions = 4'096;
  uint32_t max_tasks_per_worker = 1'000;
  uint32_t max_watchers = 100'000;
  uint64_t max_log_bytes_per_task = 64 << 10;
  Span request_window = 10 * kMinute;  // for how long a repeated request id is recognised
  size_t block_cache_bytes = 64 << 20;
  size_t block_bytes = 1 << 20;       // a block is closed when it has this much
  size_t checkpoint_bytes = 8 << 20;  // of deltas, before the next checkpoint
  // Spacing of priorities: a lower one is served after this many tasks of a higher one at the latest.
  uint32_t priority_burst = 15;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_OPTIONS_H_
