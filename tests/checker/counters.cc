#include <algorithm>
#include <string>

#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

class Judge {
 public:
  explicit Judge(Index* index) : in_(*index) {}

  void Check(const std::string& queue_name, const Queue& queue) {
    if (queue.counters == nullptr || in_.drained == nullptr || in_.Asked(queue.asks, {"delete"}, 0)) return;
    const auto& counts = queue.counters->counts;
    auto expect = [&](const char* what, int64_t value, int64_t least, int64_t most) {
      if (value >= least && value <= most) return;
      in_.Report("counters",
                 std::string(what) + " is " + std::to_string(value) + ", counted anew " + std::to_string(least) +
                     (least == most ? "" : " to " + std::to_string(most)),
                 {queue.counters});
    };
    for (Count count : {kScheduled, kAvailable, kRunning, kRetryable})
      expect("waiting or running", counts[count], 0, 0);
    if (queue.moves) return;  // a task is counted where it was enqueued, and where it ended
    int64_t enqueued = 0, enqueued_most = 0, dead = 0, dead_most = 0, completed = 0, completed_most = 0, failed = 0,
            failed_most = 0, cancelled = 0, cancelled_most = 0;
    // Of tasks that only duplicates named: nobody was told whose they are.
    int64_t others_cancelled = 0, others_retried = 0, others_deleted = 0;
    for (const auto& [id, task] : in_.tasks) {
      if (task.enqueue != nullptr) continue;
      others_cancelled += in_.Asked(task.asks, {"cancel", "bulk_cancel"}, 0);
      others_retried += CountAsks(task, {"retry", "bulk_retry"});
      others_deleted += in_.Asked(task.asks, {"delete_task", "bulk_delete"}, 0);
      // Of an enqueue without an answer; that the task is seen at all is another's doing, which it became.
      if (task.contents.empty() || task.contents.front().asked->q != queue_name) continue;
      dead_most += task.end != nullptr && task.end->state == "dead";
      failed_most += static_cast<int64_t>(task.leases.size());
      completed_most += std::any_of(task.leases.begin(), task.leases.end(), [](const Lease& lease) {
        return lease.outcome != nullptr && lease.outcome->kind == "completed";
      });
    }
    for (const Enqueue* enqueue : queue.enqueues) {
      const bool refused = enqueue->answer != nullptr && enqueue->answer->phase == Phase::kFail;
      const bool made = enqueue->fresh() || (!enqueue->ok() && enqueue->task != 0);
      enqueued += made;
      enqueued_most += made || (!enqueue->ok() && !refused);
      if (!made) {
        // Nobody was told its number, which a bulk job does not ask for.
        for (const Ask* ask : queue.asks) {
          if (refused || !ask->bulk() || ask->refused() || !MayFit(*ask->asked, *enqueue->asked)) continue;
          others_cancelled += ask->asked->kind == "bulk_cancel";
          others_retried += ask->asked->kind == "bulk_retry";
          others_deleted += ask->asked->kind == "bulk_delete";
        }
        dead_most += !enqueue->ok() && !refused &&
                     (enqueue->asked->expire_at != kNever || enqueue->asked->life > 0 || queue.drops);
        continue;
      }
      const Task& task = in_.tasks[enqueue->task];
      if (task.end != nullptr) {
        dead += task.end->state == "dead";
        cancelled += task.end->state == "cancelled";
        cancelled_most += in_.Asked(task.asks, {"cancel", "bulk_cancel"}, 0);
      }
      bool sent = false, accepted = false;
      for (const Lease& lease : task.leases) {
        sent = sent || (lease.outcome != nullptr && lease.outcome->kind == "completed");
        accepted = accepted || lease.accepted("completed");
        failed += lease.accepted("failed") || lease.accepted("rejected");
        failed_most += !lease.accepted() || lease.outcome->kind == "failed" || lease.outcome->kind == "rejected";
      }
      completed += accepted || (task.end != nullptr && task.end->state == "completed");
      completed_most += sent;
    }
    expect("enqueued_total", counts[kEnqueued], enqueued, enqueued_most);
    expect("completed_total", counts[kCompleted], completed, completed_most);
    expect("failed_total", counts[kFailed], failed, failed_most);
    expect("cancelled_total", counts[kCancelled], cancelled, cancelled_most + others_cancelled);
    expect("dead", counts[kDead], dead, dead + dead_most);
    // What was enqueued has completed, been cancelled, died (perhaps more than once) or been purged.
    int64_t purged = 0, redriven = 0, redriven_most = 0, deleted_most = 0;
    for (const Ask* ask : queue.asks) {
      if (ask->refused()) continue;
      const bool sure = ask->ok();
      if (ask->asked->kind == "purge") {
        if (!sure) return;
        purged += ask->told->n;
      } else if (ask->asked->kind == "redrive") {
        if (!sure) return;
        redriven += ask->told->n;
      }
    }
    redriven_most = redriven + others_retried;
    for (const Enqueue* enqueue : queue.enqueues) {
      if (enqueue->task == 0) continue;
      redriven_most += CountAsks(in_.tasks[enqueue->task], {"retry", "bulk_retry"});
      deleted_most += CountAsks(in_.tasks[enqueue->task], {"delete_task", "bulk_delete"});
    }
    // A clock that goes back may make a bulk job redrive one task again and again.
    if (in_.last_jump >= 0 && in_.Asked(queue.asks, {"bulk_retry"}, 0)) return;
    expect("enqueued_total less all ends",
           counts[kCompleted] + counts[kCancelled] + counts[kDied] + purged - counts[kEnqueued],
           redriven - deleted_most - others_deleted, redriven_most);
  }

 private:
  static int64_t CountAsks(const Task& task, std::initializer_list<const char*> verbs) {
    return std::count_if(task.asks.begin(), task.asks.end(), [&](const Ask* ask) {
      return !ask->refused() && std::find(verbs.begin(), verbs.end(), ask->asked->kind) != verbs.end();
    });
  }

  Index& in_;
};

}  // namespace

void CheckCounters(Index* index) {
  Judge judge(index);
  for (const auto& [name, queue] : index->queues) {
    if (!index->Forgetful(queue)) judge.Check(name, queue);
  }
}

}  // namespace penstock::histcheck
