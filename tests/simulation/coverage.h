#ifndef PENSTOCK_TESTS_SIMULATION_COVERAGE_H_
#define PENSTOCK_TESTS_SIMULATION_COVERAGE_H_

#include <array>
#include <cstdint>
#include <string_view>

namespace penstock::broker {

// What must have happened somewhere in a run of many seeds: a simulation that never gets there proves nothing about it.
// clang-format off
#define PENSTOCK_SIM_POINTS(P)                                 \
  /* Transitions, as watchers saw them. */                     \
  P(ScheduledRunning, "scheduled -> running")                  \
  P(AvailableRunning, "available -> running")                  \
  P(RetryableRunning, "retryable -> running")                  \
  P(RunningCompleted, "running -> completed")                  \
  P(RunningRetryable, "running -> retryable")                  \
  P(RunningAvailable, "running -> available")                  \
  P(RunningDead, "running -> dead")                            \
  P(RunningCancelled, "running -> cancelled")                  \
  P(ScheduledCancelled, "scheduled -> cancelled")              \
  P(AvailableCancelled, "available -> cancelled")              \
  P(RetryableCancelled, "retryable -> cancelled")              \
  P(ScheduledDead, "scheduled -> dead (expired)")              \
  P(AvailableDead, "available -> dead (expired)")              \
  P(ScheduledAvailable, "scheduled -> available (retry)")      \
  P(RetryableAvailable, "retryable -> available (retry)")      \
  P(WatchPurged, "watched task purged")                        \
  /* Outcomes that were accepted. */                           \
  P(Completed, "completed")                                    \
  P(CompletedLater, "completed at a later attempt")            \
  P(CompletedCancelAsked, "completed although cancelled")      \
  P(Failed, "failed")                                          \
  P(FailedLast, "failed, the last attempt")                    \
  P(FailedCancelAsked, "failed, cancelled")                    \
  P(Rejected, "rejected")                                      \
  P(Snoozed, "snoozed")                                        \
  P(SnoozedCancelAsked, "snoozed, cancelled")                  \
  P(Released, "released")                                      \
  P(ReleasedCancelAsked, "released, cancelled")                \
  P(CancelledAsked, "cancelled, as asked")                     \
  P(CancelledUnasked, "cancelled by nobody's wish")            \
  P(AnsweredFinished, "refused: already finished")             \
  P(AnsweredStale, "refused: stale lease")                     \
  P(AnsweredUnknown, "outcome without an answer")              \
  P(CompletedBringing, "completed, with tasks to enqueue")     \
  P(AnsweredRefused, "refused: what it brought")               \
  P(CoolAsked, "cooled: queue or type")                        \
  P(CoolGroupAsked, "cooled: group")                           \
  P(CoolKeyAsked, "cooled: key")                               \
  P(RanByLabels, "given to a worker with its labels")          \
  P(RanChanged, "given as it was changed")                     \
  P(RanBrought, "given, brought by a completion")              \
  P(Dropped, "available -> dead (dropped)")                    \
  /* Sessions. */                                              \
  P(SessionNew, "session opened")                              \
  P(SessionResumed, "session resumed")                         \
  P(SessionResumedLost, "resumed, tasks lost")                 \
  P(SessionResumedCancelled, "resumed, tasks to cancel")       \
  P(SessionReplaced, "stream replaced: ABORTED")               \
  P(SessionLapsed, "lease ran out: ABORTED")                   \
  P(SessionGone, "resume: NOT_FOUND")                          \
  P(SessionFull, "open: RESOURCE_EXHAUSTED")                   \
  P(SessionGoodbye, "goodbye")                                 \
  P(SessionUnknown, "stream: UNAVAILABLE, outcome unknown")    \
  P(SessionDrain, "asked to drain")                            \
  P(SessionCancel, "asked to cancel")                          \
  P(WorkerNotHeld, "resumed without a task it had")            \
  /* Replies. */                                               \
  P(EnqueueOk, "enqueue: OK")                                  \
  P(EnqueueDuplicate, "enqueue: duplicate")                    \
  P(EnqueueRepeated, "enqueue: repeated request")              \
  P(EnqueueDraining, "enqueue: FAILED_PRECONDITION")           \
  P(EnqueueLimit, "enqueue: RESOURCE_EXHAUSTED")               \
  P(EnqueueReused, "enqueue: INVALID_ARGUMENT")                \
  P(EnqueueUnknown, "enqueue: outcome unknown")                \
  P(EnqueueReplaced, "enqueue: replaced another")              \
  P(EnqueueDebounced, "enqueue: debounced another")            \
  P(EnqueueFull, "enqueue: RESOURCE_EXHAUSTED (tasks)")        \
  P(EnqueueFullBytes, "enqueue: RESOURCE_EXHAUSTED (bytes)")   \
  P(UpdateOk, "update task: OK")                               \
  P(UpdateMoved, "update task: to another queue")              \
  P(UpdateOld, "update task: ABORTED")                         \
  P(UpdateRefused, "update task: FAILED_PRECONDITION")         \
  P(UpdateNotFound, "update task: NOT_FOUND")                  \
  P(UpdateLimit, "update task: RESOURCE_EXHAUSTED")            \
  P(DeleteTaskOk, "delete task: OK")                           \
  P(DeleteTaskRefused, "delete task: FAILED_PRECONDITION")     \
  P(DeleteTaskNotFound, "delete task: NOT_FOUND")              \
  P(ThrottleCreated, "throttle: created")                      \
  P(ThrottleExists, "throttle: ALREADY_EXISTS")                \
  P(ThrottleUpdated, "throttle: updated")                      \
  P(ThrottleDeleted, "throttle: deleted")                      \
  P(ThrottleNotFound, "throttle: NOT_FOUND")                   \
  P(ThrottleFull, "throttle: full, and some wait")             \
  P(ThrottleRate, "throttle: rate reached, and some wait")     \
  P(QueueLimited, "queue: limits set")                         \
  P(MailboxFull, "mailbox: RESOURCE_EXHAUSTED")                \
  P(MailboxClosed, "mailbox: UNAVAILABLE")                     \
  P(CommitUnknown, "reply: UNAVAILABLE, outcome unknown")      \
  P(CancelWaiting, "cancel: cancelled")                        \
  P(CancelRunning, "cancel: running")                          \
  P(CancelFinished, "cancel: FAILED_PRECONDITION")             \
  P(CancelNotFound, "cancel: NOT_FOUND")                       \
  P(RetryOk, "retry: OK")                                      \
  P(RetryRefused, "retry: FAILED_PRECONDITION")                \
  P(RetryNotFound, "retry: NOT_FOUND")                         \
  P(QueueCreated, "create: OK")                                \
  P(QueueExists, "create: ALREADY_EXISTS")                     \
  P(QueueLimit, "create: RESOURCE_EXHAUSTED")                  \
  P(QueueNotFound, "queue: NOT_FOUND")                         \
  P(QueuePaused, "pause: OK")                                  \
  P(QueueResumed, "resume: OK")                                \
  P(QueueUpdated, "update: OK")                                \
  P(QueueDrained, "drain: OK")                                 \
  P(QueuePurged, "purge: tasks gone")                          \
  P(QueueDeleted, "delete: OK")                                \
  P(QueueBusy, "delete: FAILED_PRECONDITION")                  \
  P(Redriven, "redrive: tasks changed")                        \
  P(DeadPurged, "purge dead: tasks gone")                      \
  P(WatchFull, "watch: RESOURCE_EXHAUSTED")                    \
  P(WatchOk, "watch: OK")                                      \
  P(WorkerDrained, "drain worker: OK")                         \
  P(WorkerNotFound, "drain worker: NOT_FOUND")                 \
  P(WorkerAmbiguous, "drain worker: FAILED_PRECONDITION")      \
  P(ListedLanes, "lanes: listed")                              \
  P(ListedMore, "lanes: more")                                 \
  P(ListedRunning, "running: listed")                          \
  /* Bulk jobs, as whoever began them saw them. */             \
  P(BulkStarted, "bulk: started")                              \
  P(BulkRepeated, "bulk: started, by a repeated request")      \
  P(BulkLimit, "bulk: RESOURCE_EXHAUSTED (jobs)")              \
  P(BulkNoQueue, "bulk: NOT_FOUND")                            \
  P(BulkCancelled, "bulk: done, tasks cancelled")              \
  P(BulkRetried, "bulk: done, tasks retried")                  \
  P(BulkDeleted, "bulk: done, tasks deleted")                  \
  P(BulkSkipped, "bulk: tasks skipped")                        \
  P(BulkLimited, "bulk: done at its limit")                    \
  P(BulkDry, "bulk: done, a dry run")                          \
  P(BulkStopped, "bulk: stopped")                              \
  P(BulkStopRefused, "bulk: stop: FAILED_PRECONDITION")        \
  P(BulkFailed, "bulk: failed")                                \
  P(BulkResumed, "bulk: went on after a restart")              \
  P(BulkChecked, "bulk: looked again at what was pending")     \
  P(BulkUncounted, "bulk: found a change that was not counted") \
  P(BulkBlocked, "bulk: waited for room in the mailbox")       \
  /* Faults. */                                                \
  P(Killed, "broker killed")                                   \
  P(KilledMidCommitKept, "killed in a commit, which is there") \
  P(KilledMidCommitLost, "killed in a commit, which is lost")  \
  P(KilledTwoInFlight, "killed with two batches in flight")    \
  P(PowerLost, "power lost")                                   \
  P(PowerLostWrites, "power lost, unsynced commits gone")      \
  P(CommitFailedKept, "commit failed, on disk")                \
  P(CommitFailedLost, "commit failed, not on disk")            \
  P(DiskFull, "disk full")                                     \
  P(EngineBlocked, "engine waited for the disk")               \
  P(BrokerPaused, "broker stood still")                        \
  P(BrokerStopped, "broker stopped in order")                  \
  P(Frozen, "worker frozen past its lease")                    \
  P(Cut, "stream cut")                                         \
  P(HalfOpen, "stream cut, broker not told")                   \
  P(ReplyLost, "reply lost")                                   \
  P(RequestLost, "request lost")                               \
  P(ClockForward, "clock jumped forward")                      \
  P(ClockBack, "clock jumped back")                            \
  P(Checked, "recovered state compared")                       \
  P(Idle, "rest of the batch synced or sealed while idle")     \
  P(Drained, "drained")                                        \
  P(Forgotten, "nothing left after retention")
// clang-format on

enum class Point : uint16_t {
#define P(name, text) k##name,
  PENSTOCK_SIM_POINTS(P)
#undef P
      kCount,
};
inline constexpr size_t kPoints = static_cast<size_t>(Point::kCount);
std::string_view NameOf(Point point);

using Coverage = std::array<uint64_t, kPoints>;

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_COVERAGE_H_
