#ifndef PENSTOCK_BROKER_CORE_SCHEDULES_H_
#define PENSTOCK_BROKER_CORE_SCHEDULES_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/core_context.h"
#include "broker/core/enqueuer.h"
#include "broker/core/lifecycle.h"
#include "broker/core/schedule.h"
#include "common/ticks.h"

namespace penstock::broker {

// Makes a task at each tick of each schedule: exactly one a tick, whatever crashes, because the task and the time of
// the next tick are in one commit. That time only grows, so a clock that goes back repeats nothing. Ticks are made in
// their order, those of all schedules together; a step passes a bounded number of them. A schedule that is not due
// costs a step nothing. Schedules are read at the start, from records of their own, not from deltas.
class Schedules {
 public:
  using CancelTask = std::function<void(TaskId task, const std::string& reason)>;

  // `cancel` ends a task that waits, and asks one that runs to end.
  Schedules(CoreContext& context, Enqueuer& enqueuer, Lifecycle& lifecycle, CancelTask cancel)
      : context_(context), enqueuer_(enqueuer), lifecycle_(lifecycle), cancel_(std::move(cancel)) {}

  // After a recovery of everything else.
  absl::Status Restore(const StoreReader& store);

  void Apply(const ScheduleCommand& command);
  void Answer(const ListSchedulesCommand& command);

  // False: there is more to do at this moment. Before anything looks at lanes.
  bool Tick() { return next_due_ > context_.now.wall || PassTicks(); }
  // Wall time at which Tick next has work, or kNever.
  Time next_due() const { return next_due_; }

 private:
  struct Schedule {
    ScheduleView view;
    // Absent: its time zone is not known here any more. Then it waits, its next tick as stored.
    std::optional<Ticks> ticks;
    bool changed = false;  // its progress, in this batch
    // What a later version stored of it; see IfNewer (storage/records.h).
    std::string newer_record;
    std::string newer_progress;
  };

  absl::Status Change(const ScheduleCommand& command, ScheduleReply* reply);
  absl::StatusOr<Schedule*> Create(const ScheduleCommand& command);
  absl::Status Update(const ScheduleChange& change, Schedule* schedule);
  absl::Status CheckBytes(const ScheduledTask& task, const Schedule& instead_of) const;
  void Delete(Schedule* schedule);

  bool PassTicks();
  // Passes its next tick, with those before `now` that need no task of their own. Returns the ticks looked at.
  int PassTick(Schedule* schedule);
  // The tick's task, unless the overlap policy says no.
  void Fire(Schedule* schedule, Time tick);
  // AlreadyExists: the task before it is not finished, or its unique key is taken. Otherwise as the enqueue says.
  absl::StatusOr<TaskId> MakeTask(Schedule* schedule, Time tick);

  Schedule* Find(std::string_view name);
  // The first tick after `after`.
  static Time NextTick(const Schedule& schedule, Time after);
  // Its next tick is another one from now on. REQUIRES: it stands in due_ as `view` says.
  void SetNext(Schedule* schedule, Time next);
  void PutDefinition(const Schedule& schedule);
  void PutProgress(const Schedule& schedule);

  CoreContext& context_;
  Enqueuer& enqueuer_;
  Lifecycle& lifecycle_;
  const CancelTask cancel_;

  absl::btree_map<std::string, std::unique_ptr<Schedule>, std::less<>> schedules_;
  // Those that have a next tick, by its time and their name.
  absl::btree_set<std::pair<Time, std::string_view>> due_;
  Time next_due_ = kNever;  // of due_
  size_t bytes_ = 0;        // of all tasks held
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_SCHEDULES_H_
