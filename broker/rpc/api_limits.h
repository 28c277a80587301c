#ifndef PENSTOCK_BROKER_RPC_API_LIMITS_H_
#define PENSTOCK_BROKER_RPC_API_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "broker/core/command.h"
#include "broker/core/core_types.h"

namespace penstock::broker {

inline constexpr Span kDay = 24 * kHour;

// What a field of the API may hold, and what it means when it is left out. Sizes are bytes. The first group can be
// configured, the rest is part of the contract (proto/penstock/v1).
struct ApiLimits {
  size_t payload = 1 << 20;
  size_t result = 1 << 20;
  size_t headers = 8 << 10;      // keys and values of one task together
  size_t error_text = 16 << 10;  // message and detail together; longer text is cut
  size_t log_line = 4 << 10;     // longer lines are cut
  size_t checkpoint = 64 << 10;  // what a handler saves for its next attempt
  size_t tasks_per_call = 10'000;
  uint32_t concurrency = 1'000;
  size_t subscription_events = 10'000;  // that wait for a reader
  size_t held_back = 64 << 20;          // frames of all enqueue streams that wait for room in the mailbox

  QueueSettings queue_defaults;

  size_t name = 128;   // of a queue or type
  size_t key = 256;    // unique keys, header keys
  size_t label = 256;  // a worker's name, host and version; an error's type
  size_t content_type = 128;
  size_t text = 1 << 10;      // progress (longer is cut), reason of a cancellation
  size_t worker_labels = 32;  // of a worker
  size_t task_labels = 8;     // that a task asks for
  size_t label_part = 64;     // key or value of one
  size_t tags = 16;
  size_t tag = 128;
  size_t request_id = 64;
  size_t worker_names = 1'000;  // queues of a worker; types of a worker
  size_t held_tasks = 10'000;
  size_t enqueued_by_completion = 1'000;  // tasks of one outcome
  uint32_t credit = 10'000;               // of one request
  uint32_t attempts = 1'000;
  uint32_t page = 1'000;
  uint32_t page_default = 100;
  uint32_t dead_tasks = 10'000;  // of one redrive or purge
  uint16_t cost = 1'000;         // of a task
  uint32_t throttle_units = 1'000'000;
  size_t throttle_names = 1'000;  // queues of a throttle; types of a throttle
  uint32_t previewed_ticks = 100;
  uint32_t previewed_ticks_default = 10;

  Span lease_min = 2 * kSecond;
  Span lease_max = 12 * kHour;
  Span wait_max = kHour;
  Span interval_min = kSecond;     // of a schedule; at most postpone_max
  Span start_max = 36'525 * kDay;  // run_at and delay
  Span postpone_max = 365 * kDay;  // retry_after, snooze, unique window, backoff, result retention
  Span dead_retention_max = 3'650 * kDay;
  Span run_timeout_max = 30 * kDay;
  Span initial_backoff_max = 30 * kDay;
  Span cool_max = kHour;  // retry_after and delay of an outcome that cools
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_API_LIMITS_H_
