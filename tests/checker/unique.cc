#include <algorithm>
#include <string>
#include <vector>

#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

class Judge {
 public:
  explicit Judge(Index* index) : in_(*index) {}

  void Run() {
    for (const auto& [name, queue] : in_.queues) {
      if (in_.Forgetful(queue)) continue;
      for (const auto& [key, enqueues] : queue.unique) {
        for (const Enqueue* enqueue : enqueues) {
          if (!enqueue->ok()) continue;
          if (enqueue->answer->dup) {
            CheckDuplicate(*enqueue, queue);
          } else {
            CheckFresh(*enqueue, enqueues, queue);
          }
        }
      }
    }
  }

 private:
  void CheckDuplicate(const Enqueue& enqueue, const Queue& queue) {
    const Task& task = in_.tasks[enqueue.task];
    const Enqueue* first = task.enqueue;
    if (first == nullptr) return;  // its answer was lost
    if (first->asked->unique != enqueue.asked->unique || (first->asked->q != enqueue.asked->q && !task.moved())) {
      return in_.Report("unique", "answered to be a task with another key", {enqueue.asked, enqueue.answer});
    }
    if (!first->fresh()) return;
    if (SurelyFree(*first, task, enqueue.asked->t)) {
      return in_.Report("unique", "answered to be a task that had given up its key", {enqueue.asked, enqueue.answer});
    }
    // It waited, and no worker had had it: what asks to take its place does.
    if (enqueue.may_replace() && !enqueue.answer->replaced && first->answer->t < enqueue.asked->t &&
        task.asks.empty() && !task.shaky && in_.SurelyUntouched(task, enqueue.answer) &&
        !in_.Asked(queue.asks, {"purge", "delete", "redrive"}, first->asked->t)) {
      in_.Report("unique", "a task that waited was not replaced",
                 {first->asked, enqueue.asked, enqueue.answer, task.leases.front().deliver});
    }
  }

  void CheckFresh(const Enqueue& enqueue, const std::vector<const Enqueue*>& enqueues, const Queue& queue) {
    for (const Enqueue* other : enqueues) {
      if (other == &enqueue || !other->fresh() || other->answer->t > enqueue.asked->t) continue;
      if (other->asked->call != enqueue.asked->call && SurelyHeld(*other, queue, enqueue)) {
        in_.Report("unique", "two tasks have one unique key", {other->asked, enqueue.asked, enqueue.answer});
      }
    }
  }

  // Whether the task surely had its unique key all the while that another was enqueued.
  bool SurelyHeld(const Enqueue& enqueue, const Queue& queue, const Enqueue& another) {
    const Task& task = in_.tasks[enqueue.task];
    const int64_t t = another.answer->t;
    if (in_.Asked(queue.asks, {"purge", "delete", "purge_dead"}, enqueue.asked->t, t) ||
        in_.Asked(task.asks, {"delete_task", "bulk_delete"}, 0, t) || task.moved()) {
      return false;
    }
    if (enqueue.asked->window > 0) return t < enqueue.asked->t + enqueue.asked->window && in_.last_jump < 0;
    if (queue.drops || in_.Asked(task.asks, {"cancel", "bulk_cancel"}, 0, t)) return false;
    const bool may_die = std::any_of(task.contents.begin(), task.contents.end(), [&](const Content& content) {
      return content.asked->expire_at <= t || content.asked->life > 0;
    });
    if (may_die) return false;
    if (enqueue.asked->scope == "waiting") {
      const bool scheduled = enqueue.asked->run_at > t && !task.changed() && !in_.Redriven(task, 0, t);
      return scheduled || in_.SurelyUntouched(task, another.answer);
    }
    return std::all_of(task.leases.begin(), task.leases.end(), [&](const Lease& lease) {
      if (lease.deliver->attempt >= lease.deliver->max_attempts) return false;
      return lease.outcome == nullptr || lease.outcome->t > t || lease.outcome->kind == "snoozed" ||
             lease.outcome->kind == "released" || lease.outcome->kind == "failed";
    });
  }

  // Whether it surely had given up its key by `t`.
  bool SurelyFree(const Enqueue& enqueue, const Task& task, int64_t t) {
    if (enqueue.asked->window > 0) return t > enqueue.answer->t + enqueue.asked->window && in_.last_jump < 0;
    const bool deleted = std::any_of(task.asks.begin(), task.asks.end(), [&](const Ask* ask) {
      return ask->ok() && ask->asked->kind == "delete_task" && ask->told->t < t;
    });
    return deleted || std::any_of(task.leases.begin(), task.leases.end(), [&](const Lease& lease) {
             if (enqueue.asked->scope == "waiting") return lease.deliver->t < t;
             return lease.accepted("completed") && lease.answer->t < t;
           });
  }

  Index& in_;
};

}  // namespace

void CheckUnique(Index* index) { Judge(index).Run(); }

}  // namespace penstock::histcheck
