#include "tests/checker/checker.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/checker/index.h"
#include "tests/checker/priorities.h"

namespace penstock::histcheck {
namespace {

// One function a rule; docs/reliability.md says each in words.
class Rules {
 public:
  explicit Rules(Index& index) : in_(index), config_(index.config) {}

  void Run() {
    for (auto& [id, task] : in_.tasks) {
      if (task.shaky) continue;
      const Queue& queue = QueueOf(task);
      Completion(task);
      Attempts(task, queue);
      Early(task, queue);
      Life(task, queue);
      Checkpoints(task);
      Final(task, queue);
      if (in_.drained != nullptr) End(task, queue);
    }
    for (const Enqueue& enqueue : in_.enqueues) {
      if (enqueue.answer != nullptr && enqueue.answer->phase == Phase::kFail && enqueue.task != 0) {
        in_.Report("nowhere", "a refused enqueue made a task", {enqueue.asked, enqueue.answer});
      }
    }
    for (auto& [name, queue] : in_.queues) {
      if (!queue.relaxed || in_.power_losses.empty()) {
        Unique(queue);
        Draining(queue);
        Order(queue);
        Counters(queue);
      }
    }
    Cooled();
    CheckPriorities(&in_);
    if (in_.quiet != nullptr && (in_.drained == nullptr || in_.drained->t - in_.quiet->t > config_.liveness)) {
      in_.Report("liveness", "not everything came to its end in time after the faults", {in_.quiet, in_.drained});
    }
  }

 private:
  const Queue& QueueOf(const Task& task) {
    if (task.enqueue != nullptr) return in_.queues[task.enqueue->asked->q];
    return in_.queues[task.leases.empty() ? "" : task.leases.front().deliver->q];
  }
  // Somebody may have made a dead task available again, or let one run early.
  bool Redriven(const Task& task, const Queue& queue, int64_t from, int64_t until = kNever) {
    return in_.Asked(task.asks, {"retry"}, from, until) || in_.Asked(queue.asks, {"redrive"}, from, until);
  }

  void Completion(const Task& task) {
    const Lease* completed = nullptr;
    for (const Lease& lease : task.leases) {
      if (completed != nullptr) {
        in_.Report("completion", "a task was given out again after its completion was accepted",
                   {completed->answer, lease.deliver});
        break;
      }
      if (lease.accepted("completed")) completed = &lease;
    }
    // From the newest: when a later lease had been seen.
    const Event* newer = nullptr;
    for (auto lease = task.leases.rbegin(); lease != task.leases.rend(); ++lease) {
      if (newer != nullptr && lease->accepted() && newer->t < lease->outcome->t) {
        in_.Report("stale", "an outcome was accepted although a newer lease had been given",
                   {newer, lease->outcome, lease->answer});
      }
      if (newer == nullptr || lease->deliver->t < newer->t) newer = lease->deliver;
    }
  }

  void Attempts(const Task& task, const Queue& queue) {
    const Lease* previous = nullptr;
    for (const Lease& lease : task.leases) {
      const Event& now = *lease.deliver;
      const int64_t before = previous == nullptr ? 0 : previous->deliver->attempt;
      // An attempt counts from its start; of one that ended without an accepted outcome, the broker may know or not.
      int64_t least = before == 0 ? 1 : before, most = before + 1;
      if (previous != nullptr && previous->accepted()) {
        const std::string& kind = previous->outcome->kind;
        if (kind == "failed" || kind == "rejected") least = most;
        if (kind == "snoozed" || kind == "released" || kind == "cancelled") most = least;
      }
      const bool lost = previous != nullptr && previous->outcome == nullptr && !previous->given_back;
      if (lost && previous->started) least = most;
      const bool again = previous != nullptr && Redriven(task, queue, previous->deliver->t, now.t);
      if (now.attempt < least || now.attempt > most) {
        in_.Report("attempts",
                   "attempt " + std::to_string(now.attempt) + " should be " + std::to_string(least) +
                       (most > least ? " or one more" : ""),
                   {previous == nullptr ? nullptr : previous->deliver, &now});
      }
      if (now.attempt > now.max_attempts) in_.Report("attempts", "more attempts than there may be", {&now});
      if (previous != nullptr && previous->accepted() && !again &&
          (previous->outcome->kind == "rejected" ||
           (previous->outcome->kind == "failed" && previous->deliver->attempt >= previous->deliver->max_attempts))) {
        in_.Report("attempts", "a dead task was given out", {previous->answer, &now});
      }
      if (task.enqueue != nullptr && task.enqueue->asked->max_attempts > 0 && !Redriven(task, queue, 0, now.t) &&
          now.max_attempts != task.enqueue->asked->max_attempts) {
        in_.Report("attempts", "not the number of attempts it was enqueued with", {task.enqueue->asked, &now});
      }
      previous = &lease;
    }
  }

  // The least wait before another attempt, counted from when the worker reported.
  int64_t LeastWait(const Task& task, const Lease& lease) {
    if (lease.outcome->delay >= 0) return lease.outcome->delay;
    if (lease.outcome->kind != "failed" || task.enqueue == nullptr) return 0;
    return std::max<int64_t>(task.enqueue->asked->backoff, 0);
  }

  void Early(const Task& task, const Queue& queue) {
    const Event* asked = task.enqueue == nullptr ? nullptr : task.enqueue->asked;
    const Lease* previous = nullptr;
    for (const Lease& lease : task.leases) {
      const int64_t t = lease.deliver->t;
      if (Redriven(task, queue, 0, t)) return;
      if (asked != nullptr && (t < asked->run_at || (asked->t > in_.last_jump && t < asked->t + asked->delay))) {
        in_.Report("early", "a task was given out before its time", {asked, lease.deliver});
      }
      if (previous != nullptr && previous->accepted() && previous->outcome->t > in_.last_jump &&
          LeastWait(task, *previous) > 0 && t < previous->outcome->t + LeastWait(task, *previous)) {
        in_.Report("early", "a task was given out before its wait was over", {previous->outcome, lease.deliver});
      }
      const int64_t given = lease.deliver->since > 0 ? lease.deliver->since : t - config_.max_delay;  // or later
      if (previous == nullptr && asked != nullptr && asked->expire_at != kNever && in_.last_jump < 0 &&
          given > asked->expire_at + config_.max_commit) {
        in_.Report("expired", "a task was given out after it had expired", {asked, lease.deliver});
      }
      previous = &lease;
    }
  }

  // A life counts from when its task is first due, at the latest from when its enqueue was answered.
  void Life(const Task& task, const Queue& queue) {
    if (task.enqueue == nullptr || !task.enqueue->fresh() || task.enqueue->asked->life <= 0 || in_.last_jump >= 0)
      return;
    const Event& asked = *task.enqueue->asked;
    const int64_t due = std::max(asked.run_at, task.enqueue->answer->t + std::max<int64_t>(asked.delay, 0));
    for (const Lease& lease : task.leases) {
      if (Redriven(task, queue, 0, lease.deliver->t)) return;
      if (lease.deliver->t > due + asked.life + config_.max_delay + config_.max_commit) {
        in_.Report("life", "a task was given out after its life", {&asked, lease.deliver});
      }
    }
  }

  // What was saved in the frame of an outcome that counted comes with the next attempt; of others nobody knows.
  void Checkpoints(const Task& task) {
    std::set<std::string> possible = {""};
    const Event* saved = nullptr;
    for (const Lease& lease : task.leases) {
      if (!possible.contains(lease.deliver->saved)) {
        in_.Report("checkpoint", "not the checkpoint that was saved last", {saved, lease.deliver});
      }
      if (lease.outcome == nullptr || lease.outcome->saved.empty()) continue;
      if (lease.accepted()) possible.clear();
      possible.insert(lease.outcome->saved);
      saved = lease.outcome;
    }
  }

  // What a handler asked to leave alone.
  void Cooled() {
    if (in_.last_jump >= 0) return;
    struct Cooling {
      const Event* asked;
      std::string q, type;
      int64_t from, until;
    };
    std::vector<Cooling> coolings;
    for (const auto& [id, task] : in_.tasks) {
      for (const Lease& lease : task.leases) {
        if (!lease.accepted() || lease.outcome->cool.empty()) continue;
        const Queue& queue = in_.queues[lease.deliver->q];
        if (queue.relaxed && !in_.power_losses.empty()) continue;
        if (lease.outcome->cool == "queue" && in_.Asked(queue.asks, {"delete"}, 0)) continue;
        coolings.push_back({lease.outcome, lease.outcome->cool == "queue" ? lease.deliver->q : "",
                            lease.outcome->cool == "type" ? lease.deliver->type : "",
                            lease.answer->t + config_.max_delay, lease.outcome->t + lease.outcome->delay});
      }
    }
    for (const auto& [id, task] : in_.tasks) {
      for (const Lease& lease : task.leases) {
        const Event& given = *lease.deliver;
        for (const Cooling& cooling : coolings) {
          if (given.t <= cooling.from || given.t >= cooling.until) continue;
          if (given.q != cooling.q && given.type != cooling.type) continue;
          in_.Report("cooled", "a task was given out of what was to be left alone", {cooling.asked, &given});
          break;
        }
      }
    }
  }

  // A delivery was surely given out after a moment: it came too late to have been on its way then, or its worker knows
  // that the broker answered it since.
  bool SurelyAfter(const Event* deliver, const Event* moment) {
    if (deliver->since > 0) return deliver->since > moment->t;
    return in_.At(deliver) > in_.At(moment) + config_.max_delay;
  }

  void Final(const Task& task, const Queue& queue) {
    auto none_after = [&](const char* what, const Event* why) {
      for (const Lease& lease : task.leases) {
        if (SurelyAfter(lease.deliver, why)) in_.Report("final", what, {why, lease.deliver});
      }
    };
    for (const Ask* ask : task.asks) {
      if (!ask->ok() || ask->asked->kind != "cancel") continue;
      none_after("a cancelled task was given out", ask->told);
      if (ask->told->state != "cancelled") continue;
      for (const Lease& lease : task.leases) {
        if (lease.accepted("completed"))
          in_.Report("final", "a cancelled task was completed", {ask->told, lease.answer});
      }
    }
    for (const Ask* ask : queue.asks) {
      if (!ask->ok() || ask->asked->kind != "pause") continue;
      for (const Lease& lease : task.leases) {
        if (SurelyAfter(lease.deliver, ask->told) &&
            !in_.Asked(queue.asks, {"resume", "delete"}, ask->asked->t, lease.deliver->t)) {
          in_.Report("paused", "a paused queue gave out a task", {ask->told, lease.deliver});
        }
      }
    }
    const Enqueue* enqueue = task.enqueue;
    for (const Event* seen : task.seen) {
      if (seen->state == "dead" && Redriven(task, queue, 0)) continue;
      none_after("a task that had ended was given out", seen);
      if (task.end != nullptr && task.end->state != seen->state && task.end->state != "gone") {
        in_.Report("final", "an end was told that is not its end", {seen, task.end});
      }
    }
    if (enqueue == nullptr || !enqueue->fresh()) return;
    for (const Ask* ask : queue.asks) {
      if (!ask->ok() || ask->asked->t <= enqueue->answer->t) continue;
      if (ask->asked->kind == "delete") none_after("a deleted task was given out", ask->told);
      if (ask->asked->kind != "purge" || task.leases.empty()) continue;
      // What surely waited: it was not due, or its queue was paused from before its enqueue on.
      if (Redriven(task, queue, 0)) continue;  // it may have been dead
      const bool scheduled = enqueue->asked->run_at > ask->told->t;
      const bool paused = std::any_of(queue.asks.begin(), queue.asks.end(), [&](const Ask* pause) {
        return pause->ok() && pause->asked->kind == "pause" && pause->told->t < enqueue->asked->t &&
               !in_.Asked(queue.asks, {"resume", "delete"}, pause->asked->t, ask->told->t);
      });
      if (scheduled || paused) {
        in_.Report("final", "a purged task was given out", {enqueue->asked, ask->told, task.leases.front().deliver});
      }
    }
  }

  void End(const Task& task, const Queue& queue) {
    const Enqueue* enqueue = task.enqueue;
    const Event* asked = enqueue == nullptr ? nullptr : enqueue->asked;
    const Event* known = enqueue != nullptr && enqueue->fresh() ? enqueue->answer
                         : task.leases.empty()                  ? nullptr
                                                                : task.leases.front().deliver;
    if (known == nullptr) return;
    if (task.end == nullptr) return in_.Report("loss", "nobody looked what became of this task", {known});
    const std::string& state = task.end->state;
    bool completed = false, accepted = false, died = false;
    for (const Lease& lease : task.leases) {
      accepted = accepted || lease.accepted("completed");
      // Without an outcome its worker may have been lost, which is an attempt, too.
      died = died || lease.outcome == nullptr || !lease.accepted() || lease.outcome->kind == "rejected" ||
             lease.outcome->kind == "failed";
      completed = completed || (lease.outcome != nullptr && lease.outcome->kind == "completed");
    }
    died = died || (asked != nullptr && (asked->expire_at <= task.end->t || asked->life > 0));
    const int64_t since = asked == nullptr ? 0 : asked->t;
    const bool cancelled = in_.Asked(task.asks, {"cancel"}, since);
    if (state == "completed") {
      if (!completed) in_.Report("nowhere", "nobody completed it, and it is completed", {known, task.end});
    } else if (state == "cancelled") {
      if (!cancelled) in_.Report("nowhere", "nobody cancelled it, and it is cancelled", {known, task.end});
    } else if (state == "dead") {
      if (!died) in_.Report("nowhere", "nothing killed it, and it is dead", {known, task.end});
    } else if (state == "gone") {
      const bool ended = completed || cancelled || died;
      if (!in_.Asked(queue.asks, {"delete"}, since) && !(config_.forgets && ended) &&
          !(in_.Asked(queue.asks, {"purge"}, since) && !accepted) &&
          !(in_.Asked(queue.asks, {"purge_dead"}, since) && died && !accepted)) {
        in_.Report("loss", "an acknowledged task is gone", {known, task.end});
      }
    } else {
      in_.Report("drained", "a task is " + state + " at the end", {known, task.end});
    }
    if (accepted && state != "completed" && state != "gone") {
      in_.Report("loss", "an accepted completion was forgotten", {known, task.end});
    }
  }

  // Whether the enqueue's task surely had its unique key at `t`, or surely not any more.
  bool SurelyHeld(const Enqueue& enqueue, const Queue& queue, int64_t t) {
    const Task& task = in_.tasks[enqueue.task];
    if (enqueue.answer->t >= t || in_.Asked(queue.asks, {"purge", "delete", "purge_dead"}, enqueue.asked->t, t))
      return false;
    if (enqueue.asked->window > 0) return t < enqueue.asked->t + enqueue.asked->window && in_.last_jump < 0;
    if (enqueue.asked->expire_at <= t || enqueue.asked->life > 0 || in_.Asked(task.asks, {"cancel"}, 0, t))
      return false;
    return std::all_of(task.leases.begin(), task.leases.end(), [&](const Lease& lease) {
      if (lease.deliver->attempt >= lease.deliver->max_attempts) return false;
      return lease.outcome == nullptr || lease.outcome->t > t || lease.outcome->kind == "snoozed" ||
             lease.outcome->kind == "released" || lease.outcome->kind == "failed";
    });
  }
  bool SurelyFree(const Enqueue& enqueue, int64_t t) {
    if (enqueue.asked->window > 0) return t > enqueue.answer->t + enqueue.asked->window && in_.last_jump < 0;
    const Task& task = in_.tasks[enqueue.task];
    return std::any_of(task.leases.begin(), task.leases.end(),
                       [&](const Lease& lease) { return lease.accepted("completed") && lease.answer->t < t; });
  }

  // Tasks of a FIFO key start in the order of their acknowledged enqueues.
  void Order(const Queue& queue) {
    std::map<std::string, std::vector<const Enqueue*>> keys;
    for (const Enqueue* enqueue : queue.enqueues) {
      const bool delayed =
          enqueue->asked->delay > 0 || enqueue->asked->run_at > 0;  // its place is that of its due time
      if (!enqueue->asked->key.empty() && !delayed && enqueue->fresh() && !in_.tasks[enqueue->task].leases.empty()) {
        keys[enqueue->asked->key].push_back(enqueue);
      }
    }
    auto first = [&](const Enqueue* enqueue) { return in_.tasks[enqueue->task].leases.front().deliver; };
    // Expired, it was dead before it first ran: redriven, it takes its turn anew.
    auto came_back = [&](const Enqueue* enqueue) {
      const Task& task = in_.tasks[enqueue->task];
      return !task.asks.empty() || Redriven(task, queue, 0);
    };
    for (auto& [key, enqueues] : keys) {
      // In the order of their starts: none was acknowledged before one that started earlier was asked for.
      std::sort(enqueues.begin(), enqueues.end(),
                [&](const Enqueue* a, const Enqueue* b) { return first(a)->token < first(b)->token; });
      const Enqueue* latest = nullptr;
      for (const Enqueue* enqueue : enqueues) {
        if (latest != nullptr && enqueue->answer->t < latest->asked->t && !came_back(latest) && !came_back(enqueue)) {
          in_.Report("fifo", "started before one that was enqueued earlier",
                     {latest->asked, first(latest), enqueue->asked, first(enqueue)});
        }
        if (latest == nullptr || enqueue->asked->t > latest->asked->t) latest = enqueue;
      }
    }
  }

  void Draining(const Queue& queue) {
    for (const Enqueue* enqueue : queue.enqueues) {
      for (const Ask* ask : queue.asks) {
        if (enqueue->fresh() && ask->ok() && ask->asked->kind == "drain" && ask->told->t < enqueue->asked->t &&
            !in_.Asked(queue.asks, {"resume", "delete"}, ask->asked->t, enqueue->answer->t)) {
          in_.Report("draining", "a draining queue took a task", {ask->told, enqueue->asked, enqueue->answer});
        }
      }
    }
  }

  void Unique(const Queue& queue) {
    for (const auto& [key, enqueues] : queue.unique) {
      for (const Enqueue* enqueue : enqueues) {
        if (!enqueue->ok()) continue;
        const Task& task = in_.tasks[enqueue->task];
        if (enqueue->answer->dup) {
          if (task.enqueue == nullptr) continue;  // of an enqueue whose answer was lost
          if (task.enqueue->asked->unique != key || task.enqueue->asked->q != enqueue->asked->q) {
            in_.Report("unique", "answered to be a task with another key", {enqueue->asked, enqueue->answer});
          } else if (task.enqueue->fresh() && SurelyFree(*task.enqueue, enqueue->asked->t)) {
            in_.Report("unique", "answered to be a task that had ended", {enqueue->asked, enqueue->answer});
          }
          continue;
        }
        for (const Enqueue* other : enqueues) {
          if (other == enqueue || !other->fresh() || other->answer->t > enqueue->asked->t) continue;
          if (other->asked->call != enqueue->asked->call && SurelyHeld(*other, queue, enqueue->answer->t)) {
            in_.Report("unique", "two tasks have one unique key", {other->asked, enqueue->asked, enqueue->answer});
          }
        }
      }
    }
  }

  void Counters(const Queue& queue) {
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
    int64_t enqueued = 0, enqueued_most = 0, dead = 0, dead_most = 0, completed = 0, completed_most = 0, failed = 0,
            failed_most = 0, cancelled = 0, cancelled_most = 0;
    // Of tasks that only duplicates named: nobody was told whose they are.
    int64_t others_cancelled = 0, others_retried = 0;
    for (const auto& [id, task] : in_.tasks) {
      if (task.enqueue != nullptr) continue;
      others_cancelled += in_.Asked(task.asks, {"cancel"}, 0);
      others_retried += in_.Asked(task.asks, {"retry"}, 0);
    }
    for (const Enqueue* enqueue : queue.enqueues) {
      const bool refused = enqueue->answer != nullptr && enqueue->answer->phase == Phase::kFail;
      const bool made = enqueue->fresh() || (!enqueue->ok() && enqueue->task != 0);
      enqueued += made;
      enqueued_most += made || (!enqueue->ok() && !refused);
      if (!made) {
        dead_most += !enqueue->ok() && !refused && (enqueue->asked->expire_at != kNever || enqueue->asked->life > 0);
        continue;
      }
      const Task& task = in_.tasks[enqueue->task];
      if (task.end != nullptr) {
        dead += task.end->state == "dead";
        cancelled += task.end->state == "cancelled";
        cancelled_most += in_.Asked(task.asks, {"cancel"}, 0);
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
    int64_t purged = 0, redriven = 0, redriven_most = 0;
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
      for (const Ask* ask : in_.tasks[enqueue->task].asks) {
        redriven_most += ask->asked->kind == "retry" && !ask->refused();
      }
    }
    expect("enqueued_total less all ends",
           counts[kCompleted] + counts[kCancelled] + counts[kDied] + purged - counts[kEnqueued], redriven,
           redriven_most);
  }

  Index& in_;
  const Event& config_;
};

}  // namespace

Verdict Check(const History& history) {
  Verdict verdict;
  Index index(history, &verdict);
  Rules(index).Run();
  for (const auto& [id, task] : index.tasks) {
    verdict.tasks += task.enqueue != nullptr;
    verdict.redeliveries += task.leases.empty() ? 0 : task.leases.size() - 1;
    verdict.completions += std::any_of(task.leases.begin(), task.leases.end(),
                                       [](const Lease& lease) { return lease.accepted("completed"); });
  }
  return verdict;
}

}  // namespace penstock::histcheck
