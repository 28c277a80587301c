#ifndef PENSTOCK_BROKER_CORE_REBUILD_H_
#define PENSTOCK_BROKER_CORE_REBUILD_H_

// After a salvage: makes a whole store of one from which records are missing.
//
// What counts are blocks and records of tasks: everything else (lanes, timers, counters, indexes, the checkpoint) is
// derived from them anew. The old checkpoint and deltas, as far as they can be replayed, tell what blocks do not:
// which tasks are finished, which were purged. Where they are lost, a task counts as waiting unless history, the index
// of finished tasks or its own record says that it has ended: better run again than lost.
//
// What changes for the tasks that are saved: those that ran wait again, at the same attempt; workers' sessions end; a
// task whose record is lost begins anew, or, if it was dead, stays dead without its errors.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/options.h"
#include "broker/storage/applied.h"
#include "broker/storage/store.h"

namespace penstock::broker {

struct SavedTask {
  TaskId task;
  std::string_view queue;
  State state = State::kAvailable;
  // What was not saved of it; empty: nothing is missing.
  std::string_view note;
};

struct LostTask {
  TaskId task;
  // All tasks of the block that `task` is the first of, and nobody knows how many they were.
  bool whole_block = false;
  std::string_view why;
};

// Hears task by task what became of them.
class RebuildListener {
 public:
  virtual ~RebuildListener() = default;
  virtual void OnSaved(const SavedTask& task) = 0;
  virtual void OnLost(const LostTask& task) = 0;
};

struct RebuildReport {
  Applied applied;  // of the new store; its epoch is above all that were seen
  uint64_t saved = 0;
  uint64_t lost = 0;         // tasks, and blocks of which nobody knows how many tasks they had
  uint64_t finished = 0;     // completed and cancelled tasks that are still known
  bool state_known = false;  // checkpoint and deltas were replayed up to the last commit
  std::string state_problem;
  std::vector<std::string> schedules_lost;    // their names
  std::vector<std::string> schedules_paused;  // how far they were is lost
};

// `from`: every value can be read, any may be missing. `to`: empty. `wall`: the time, for the epoch. An error: `from`
// cannot be read, or `to` not be written.
absl::StatusOr<RebuildReport> RebuildStore(const CoreOptions& options, const StoreReader& from, Time wall, Store* to,
                                           RebuildListener* listener);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_REBUILD_H_
