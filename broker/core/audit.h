#ifndef PENSTOCK_BROKER_CORE_AUDIT_H_
#define PENSTOCK_BROKER_CORE_AUDIT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "broker/core/options.h"
#include "broker/storage/applied.h"
#include "broker/storage/store.h"

namespace penstock::broker {

// Something in a store that does not fit.
struct AuditFinding {
  std::string what;
  TaskId task;  // whom it concerns; empty: no single task
};

// What a queue has, counted task by task.
struct QueueCensus {
  std::string name;
  uint64_t scheduled = 0;
  uint64_t available = 0;
  uint64_t running = 0;
  uint64_t retryable = 0;
  uint64_t dead = 0;
  // Finished tasks that are still known.
  uint64_t completed = 0;
  uint64_t cancelled = 0;
};

struct AuditReport {
  std::vector<AuditFinding> findings;
  Applied applied;                  // sequence 0: nothing was ever committed
  std::vector<QueueCensus> queues;  // in the order of their names
  uint64_t types = 0;
  uint64_t sessions = 0;
  uint64_t blocks = 0;
  uint64_t task_records = 0;
  uint64_t timers = 0;
  uint64_t unique_keys = 0;
  uint64_t request_ids = 0;
  uint64_t history_records = 0;
  uint64_t schedules = 0;
  uint64_t throttles = 0;
  uint64_t bulk_jobs = 0;
};

// Rebuilds the state of a partition as a start would, decodes every record, counts everything anew and compares it with
// what the core wrote down about it: the queues' and lanes' counters, the blocks' bitmaps, that every task is in
// exactly one place (a lane, a timer, a lease, the dead set, or finished), and that every index entry belongs to
// something. The store must be that of a core of which nothing is in flight. Memory: about 200 bytes for every task
// that waits or runs.
AuditReport AuditStore(const CoreOptions& options, const StoreReader& store);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_AUDIT_H_
