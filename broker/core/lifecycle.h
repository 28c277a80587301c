#ifndef PENSTOCK_BROKER_CORE_LIFECYCLE_H_
#define PENSTOCK_BROKER_CORE_LIFECYCLE_H_

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "broker/core/changed_task.h"
#include "broker/core/core_context.h"
#include "broker/core/timers.h"
#include "broker/core/watchers.h"

namespace penstock::broker {

// Every way a task's state changes after its enqueue and delivery: docs/task_lifecycle.md shows the picture. The plain
// path (completed at the first attempt) writes nothing of its own: a bit, and a line in the commit's history.
// Everything else writes a TaskRecord.
class Lifecycle {
 public:
  Lifecycle(CoreContext& context, Timers& timers, Watchers& watchers)
      : context_(context), timers_(timers), watchers_(watchers) {}

  // A task as the store has it: its block's slot and its record, if it has one.
  struct StoredTask {
    TaskId id;
    std::shared_ptr<const TaskBlock> block;  // null: the block is gone, the record remains
    std::optional<records::TaskRecord> record;
    LaneKey lane;
    uint64_t group = 0;  // Lane::group, if its lane has to be made anew
    TypeId type;
    uint8_t priority = 0;
    std::shared_ptr<const ChangedTask> changed;  // null: it is as its slot says
    const SlotExtras& extras() const { return changed != nullptr ? changed->extras : block->extras(id.slot()); }
    std::string_view spec() const {
      return changed != nullptr ? std::string_view(changed->record.spec()) : block->spec(id.slot());
    }
  };
  // NotFound: unknown, or finished and forgotten, or finished at its first attempt.
  absl::StatusOr<StoredTask> Load(TaskId task);

  // --- of a running task ---
  void Complete(Lease* lease, std::string_view worker, std::string_view result, std::string_view content_type);
  void Fail(Lease* lease, std::string_view worker, const ErrorText& error, std::optional<Span> retry_after,
            bool reject);
  void Snooze(Lease* lease, std::string_view worker, Span delay);
  // Given back unfinished; not an attempt. `reported`: by its worker, under this lease; otherwise the broker takes it
  // back.
  void Release(Lease* lease, std::string_view worker, bool reported);
  // Its worker is gone: an attempt, if it was started.
  void Lose(Lease* lease, std::string_view worker);
  void FinishCancelled(Lease* lease, std::string_view worker, bool reported);
  // Asks for its end; the reason is kept with the task.
  void RequestCancel(Lease* lease, std::string_view reason);
  // Keeps log lines with the task, up to its limit.
  void AddLog(Lease* lease, const LogReport& report);
  // Keeps it for the task's next attempt, in place of what was kept before.
  void SaveCheckpoint(Lease* lease, std::string_view checkpoint);
  // What its handler saved last, if it did.
  std::optional<std::string> LoadCheckpoint(TaskId task, const records::TaskRecord& record);
  bool HasCheckpoint(const Lease& lease) { return lease.exceptional && RecordOf(lease).has_checkpoint(); }

  // --- of a waiting task ---
  // FailedPrecondition unless it waits (scheduled, available, retryable).
  absl::Status CancelWaiting(TaskId task, std::string_view reason);
  // It was not started in time (kExpired), or its life is over (kTimedOut). `in_lane`: it still counts as waiting in
  // its lane.
  void Expire(const StoredTask& task, bool in_lane, DeadReason reason);
  // Its queue was full, and it the oldest. It is out of its lane already.
  void Drop(const StoredTask& task);
  // What a task that waits is to be from now on.
  struct TaskChange {
    const NewTask* task = nullptr;  // but for its queue, type, names and start, and its unique key, which stays
    LaneKey lane;
    uint64_t group = 0;
    TypeId type;
    uint8_t priority = 0;
    std::optional<Time> run_at;  // past: now; absent: when it would have run
  };
  // REQUIRES: it is not running. FailedPrecondition unless it waits; NotFound: it was purged.
  absl::StatusOr<UpdateReply> Change(const StoredTask& stored, const TaskChange& change);
  // No other task has its unique key in the queue it is to move to. FailedPrecondition otherwise.
  absl::Status CheckKeyIsFree(const StoredTask& task, const QueueState& to);
  // It waits, and no worker has had it.
  bool MayBeReplaced(const StoredTask& task);
  // A task that waits, is dead or is cancelled is forgotten at once. FailedPrecondition for others.
  absl::Status Delete(TaskId task);
  // Its unique key refuses equals only while it waits, and it was handed out.
  void ReleaseKeyOfWaiting(QueueId queue, TaskId task, const SlotExtras& extras) {
    ReleaseUniqueKey(queue, task, extras.unique_key, 0);
  }
  // It waits or runs.
  bool Unfinished(TaskId task);
  // Its queue was purged while it waited; the janitor may not have cleared it away yet.
  bool WasPurged(TaskId task);
  // Tells whoever watches a task that was purged.
  void FailPurgedWatches();
  // The queue is deleted: ends its subscriptions.
  void EndSubscriptions(const QueueState& queue);
  // What is left to do for a slot of a purged lane.
  void FinishPurged(TaskId task, const TaskBlock& block, BlockState* state);
  // A worker has had it, begun it or not.
  static bool WasHandedOut(const records::TaskRecord& record);
  // Whether a task that waits is still to expire: not once it was started or redriven.
  static bool MayExpire(const records::TaskRecord* record);
  // When its life_timeout passes; kNever: it has none. `record`: null if it has none yet.
  static Time LifeEnd(const SlotExtras& extras, Time create_time, const records::TaskRecord* record) {
    if (extras.life_timeout == 0) return kNever;
    if (record != nullptr && record->life_end() != 0) return record->life_end();
    return std::max(extras.run_at, create_time) + extras.life_timeout;
  }
  // When a task that waits dies of waiting, and as what.
  struct Deadline {
    Time time = kNever;
    DeadReason reason = DeadReason::kExpired;
  };
  static Deadline DeadlineOf(const SlotExtras& extras, Time create_time, const records::TaskRecord* record) {
    Deadline deadline;
    if (extras.expire_at != kNever && MayExpire(record)) deadline.time = extras.expire_at;
    if (extras.life_timeout == 0) return deadline;
    const Time life_end = LifeEnd(extras, create_time, record);
    if (life_end < deadline.time) deadline = {life_end, DeadReason::kTimedOut};
    return deadline;
  }
  // Scheduled or retryable, and due now; or dead, and redriven. FailedPrecondition for other states.
  absl::Status RunNow(TaskId task);

  // --- of a finished task ---
  void Redrive(StoredTask task);
  // Deletes the record and all that belongs to it. A unique key with a window outlives its task, unless that is purged.
  enum class Forgetting { kRetentionEnded, kPurged };
  void Forget(TaskId task, const records::TaskRecord& record, Forgetting why);

  // A task's slot needs its block no longer. Deletes the block when it was the last.
  void FinishSlot(TaskId task, const Ending& ending, BlockState* block);
  // The state of a task's block, made if need be; null if the block is gone.
  BlockState* TouchBlockOf(TaskId task);

  // The lane for a key, made if need be.
  Lane* LaneFor(const LaneKey& key, uint64_t group);
  // The task does not have its FIFO key any more, if it had it: the next of its lane may run.
  void ReleaseKey(const LaneKey& lane, TaskId task);
  // What its slot tells of a running task is in its lease.
  void LoadDetails(Lease* lease);
  // As Load; FailedPrecondition for a completed task that only history knows.
  absl::StatusOr<StoredTask> LoadUnfinished(TaskId task);
  // Under which lease a task was finished, if it was and that is still known.
  std::optional<FencingToken> FinishedUnder(TaskId task);

 private:
  // Attempt records kept of a task: a handler that snoozes for ever must not fill the disk. As many as a task may have
  // attempts.
  static constexpr uint32_t kAttemptRecordsMax = 1'000;

  static LaneKey LaneOf(const records::TaskRecord& record);
  static void SetLane(const LaneKey& lane, TypeId type, uint8_t priority, records::TaskRecord* record);
  // When a task with a timer of its own may be due, from `due` on.
  static Time FreeDue(const StoredTask& task, const Lane& lane, Time due);
  void MoveUniqueKey(const StoredTask& task, QueueId to);
  // It is dead from now on.
  void Die(const StoredTask& task, DeadReason reason);
  // A record for a task that has none yet, waiting as its block says.
  static records::TaskRecord NewRecord(const StoredTask& task);
  // The record of a running task: the stored one, or a new one.
  records::TaskRecord RecordOf(const Lease& lease);
  // Gives a task a record while it runs, when it has none.
  void MakeExceptional(Lease* lease, records::TaskRecord* record);
  void AddAttempt(const Lease& lease, std::string_view worker, int outcome, const ErrorText& error,
                  records::TaskRecord* record);
  void PutRecord(TaskId task, const records::TaskRecord& record);
  // It is of no use any more.
  void DropCheckpoint(TaskId task, records::TaskRecord* record);
  // A running task goes back to waiting until `due`; it dies instead if its life is over by then. `stored`: as loaded
  // before; null if it cannot be read. Tells whoever watches it.
  void Return(Lease* lease, const StoredTask* stored, records::TaskRecord record, Time due, TimerKind kind);
  // The janitor passes over tasks that run, and does not know of lives that begin anew: it has to look at `deadline`.
  void NoteDeadline(TaskId task, Time deadline);
  // A task becomes due for the first time, or anew after its redrive: its life begins.
  void BeginLife(const StoredTask& task, records::TaskRecord* record);
  // A running task ends in a record: completed (not at the first attempt), cancelled or dead.
  void EndWithRecord(Lease* lease, records::TaskRecord record, State state, DeadReason reason);
  // `own_retention`: the task's, or -1 for the queue's.
  void PutFinalRecord(TaskId task, QueueState* queue, State state, DeadReason reason, Span own_retention,
                      records::TaskRecord* record);
  void ReleaseUniqueKey(QueueId queue, TaskId task, std::string_view key, Span window);
  void ReleaseUniqueKeyOf(const StoredTask& task);
  // Frees the key of a task that is deleted, window or not.
  void DropUniqueKey(TaskId task, const TaskBlock& block);
  // The same, and what the task was changed to goes.
  void DropChange(TaskId task, QueueId queue);
  void NotifyWatchers(TaskId task, State state, uint32_t attempt, std::string_view result = {},
                      std::string_view content_type = {});
  // A task finished; for those who subscribed to its queue.
  void NotifySubscribers(const QueueState& queue, TypeId type, TaskId task, State state, uint32_t attempt,
                         DeadReason reason);
  const RetryPolicy& PolicyOf(const QueueState& queue, const StoredTask& task);
  // A task that has its FIFO key waits again from now on.
  void MoveHold(Lane* lane, TaskId task, Time due);
  // Its spec waits in the queue from now on.
  void CountStored(QueueState* queue, const StoredTask& task);
  // Takes a waiting task out of its lane. FailedPrecondition if it doesn't wait.
  absl::Status LeaveLane(const StoredTask& task);

  CoreContext& context_;
  Timers& timers_;
  Watchers& watchers_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_LIFECYCLE_H_
