#include "tests/checker/checker.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/checker/index.h"
#include "tests/checker/priorities.h"
#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

// The rules of a task's life, one function each; rules.h has the others, and README.md says each in words.
class Rules {
 public:
  explicit Rules(Index& index) : in_(index), config_(index.config) {}

  void Run() {
    for (auto& [id, task] : in_.tasks) {
      if (task.shaky) continue;
      Completion(task);
      Attempts(task);
      Early(task);
      Life(task);
      Checkpoints(task);
      Final(task);
      if (in_.drained != nullptr) End(task);
    }
    for (const Enqueue& enqueue : in_.enqueues) {
      if (enqueue.answer != nullptr && enqueue.answer->phase == Phase::kFail && enqueue.seen) {
        in_.Report("nowhere", "a refused enqueue made a task", {enqueue.asked, enqueue.answer});
      }
    }
    for (auto& [name, queue] : in_.queues) {
      if (in_.Forgetful(queue)) continue;
      Draining(queue);
      Order(queue);
    }
    Cooled();
    CheckChanges(&in_);
    CheckUnique(&in_);
    CheckWaiting(&in_);
    CheckThrottles(&in_);
    CheckBrought(&in_);
    CheckBulk(&in_);
    CheckCounters(&in_);
    CheckPriorities(&in_);
    if (in_.quiet != nullptr && (in_.drained == nullptr || in_.drained->t - in_.quiet->t > config_.liveness)) {
      in_.Report("liveness", "not everything came to its end in time after the faults", {in_.quiet, in_.drained});
    }
  }

 private:
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

  void Attempts(const Task& task) {
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
      if ((lost && previous->started) || (previous != nullptr && previous->refused())) least = most;
      const bool again = previous != nullptr && in_.Redriven(task, previous->deliver->t, now.t);
      if (now.attempt < least || now.attempt > most) {
        in_.Report("attempts",
                   "attempt " + std::to_string(now.attempt) + " should be " + std::to_string(least) +
                       (most > least ? " or one more" : ""),
                   {previous == nullptr ? nullptr : previous->deliver, &now});
      }
      // A change may lower what there may be under what there was.
      if (now.attempt > now.max_attempts && !task.changed())
        in_.Report("attempts", "more attempts than there may be", {&now});
      if (previous != nullptr && previous->accepted() && !again &&
          (previous->outcome->kind == "rejected" ||
           (previous->outcome->kind == "failed" && previous->deliver->attempt >= previous->deliver->max_attempts))) {
        in_.Report("attempts", "a dead task was given out", {previous->answer, &now});
      }
      if (lease.content != nullptr && lease.content->max_attempts > 0 && !in_.Redriven(task, 0, now.t) &&
          now.max_attempts != lease.content->max_attempts) {
        in_.Report("attempts", "not the number of attempts it was enqueued with", {lease.content, &now});
      }
      previous = &lease;
    }
  }

  // The least wait before another attempt, counted from when the worker reported.
  int64_t LeastWait(const Lease& lease) {
    if (lease.outcome->delay >= 0) return lease.outcome->delay;
    if (lease.outcome->kind != "failed" || lease.content == nullptr) return 0;
    return std::max<int64_t>(lease.content->backoff, 0);
  }

  // Whose start holds for what was given out; null: nobody knows. An update may keep the start, one that replaces does.
  const Event* StartOf(const Task& task, const Lease& lease) {
    const auto starts_anew = [](const Event& asked) {
      return (asked.op == Op::kAsk && !asked.keep_start) || asked.conflict == "debounce";
    };
    const Event* own = task.enqueue == nullptr ? nullptr : task.enqueue->asked;
    if (lease.content == nullptr || starts_anew(*lease.content)) return lease.content;
    if (lease.content == own) {
      // Without an answer, it may have replaced another that had none.
      return task.enqueue->ok() || !task.enqueue->may_replace() ? own : nullptr;
    }
    const bool anew = std::any_of(task.contents.begin(), task.contents.end(), [&](const Content& content) {
      return content.asked != own && starts_anew(*content.asked);
    });
    return anew ? nullptr : own;
  }

  void Early(const Task& task) {
    const Lease* previous = nullptr;
    for (const Lease& lease : task.leases) {
      const int64_t t = lease.deliver->t;
      if (in_.Redriven(task, 0, t)) return;
      const Event* start = StartOf(task, lease);
      if (start != nullptr && (t < start->run_at || (start->t > in_.last_jump && t < start->t + start->delay))) {
        in_.Report("early", "a task was given out before its time", {start, lease.deliver});
      }
      if (previous != nullptr && previous->accepted() && previous->content == lease.content &&
          previous->outcome->t > in_.last_jump && LeastWait(*previous) > 0 &&
          t < previous->outcome->t + LeastWait(*previous)) {
        in_.Report("early", "a task was given out before its wait was over", {previous->outcome, lease.deliver});
      }
      const int64_t given = lease.deliver->since > 0 ? lease.deliver->since : t - config_.max_delay;  // or later
      const Event* asked = lease.content;
      if (previous == nullptr && asked != nullptr && asked->expire_at != kNever && in_.last_jump < 0 &&
          given > asked->expire_at + config_.max_commit) {
        in_.Report("expired", "a task was given out after it had expired", {asked, lease.deliver});
      }
      previous = &lease;
    }
  }

  // A life counts from when its task is first due, at the latest from when its enqueue was answered.
  void Life(const Task& task) {
    if (task.enqueue == nullptr || !task.enqueue->fresh() || task.enqueue->asked->life <= 0 || in_.last_jump >= 0 ||
        task.changed()) {
      return;
    }
    const Event& asked = *task.enqueue->asked;
    const int64_t due = std::max(asked.run_at, task.enqueue->answer->t + std::max<int64_t>(asked.delay, 0));
    for (const Lease& lease : task.leases) {
      if (in_.Redriven(task, 0, lease.deliver->t)) return;
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
      const Lease* lease;
      int64_t until;
      bool Covers(const Event& task) const {
        const Event& cooled = *lease->content;
        const std::string& scope = lease->outcome->cool;
        if (scope == "queue") return task.q == cooled.q;
        if (scope == "type") return task.type == cooled.type;
        if (scope == "key") return task.key == cooled.key;
        return task.key.empty() && task.group == cooled.group;  // tasks of a key have the group of its first
      }
    };
    std::vector<Cooling> coolings;
    for (const auto& [id, task] : in_.tasks) {
      for (const Lease& lease : task.leases) {
        if (!lease.accepted() || lease.outcome->cool.empty() || lease.content == nullptr) continue;
        const Queue& queue = in_.queues[lease.deliver->q];
        if (in_.Forgetful(queue)) continue;
        if (lease.outcome->cool == "queue" && in_.Asked(queue.asks, {"delete"}, 0)) continue;
        coolings.push_back({&lease, lease.outcome->t + lease.outcome->delay});
      }
    }
    for (const auto& [id, task] : in_.tasks) {
      for (const Lease& lease : task.leases) {
        for (const Cooling& cooling : coolings) {
          if (lease.content == nullptr || lease.deliver->t >= cooling.until || !cooling.Covers(*lease.content) ||
              !in_.SurelyAfter(lease.deliver, cooling.lease->answer)) {
            continue;
          }
          in_.Report("cooled", "a task was given out of what was to be left alone",
                     {cooling.lease->outcome, lease.deliver});
          break;
        }
      }
    }
  }

  void Final(const Task& task) {
    auto none_after = [&](const char* what, const Event* why) {
      for (const Lease& lease : task.leases) {
        if (in_.SurelyAfter(lease.deliver, why)) in_.Report("final", what, {why, lease.deliver});
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
    for (const Lease& lease : task.leases) {
      const Queue& queue = in_.queues[lease.deliver->q];
      for (const Ask* ask : queue.asks) {
        if (ask->ok() && ask->asked->kind == "pause" && in_.SurelyAfter(lease.deliver, ask->told) &&
            !in_.Asked(queue.asks, {"resume", "delete"}, ask->asked->t, lease.deliver->t)) {
          in_.Report("paused", "a paused queue gave out a task", {ask->told, lease.deliver});
        }
      }
    }
    const Enqueue* enqueue = task.enqueue;
    for (const Event* seen : task.seen) {
      if (seen->state == "dead" && in_.Redriven(task, 0)) continue;
      none_after("a task that had ended was given out", seen);
      if (task.end != nullptr && task.end->state != seen->state && task.end->state != "gone") {
        in_.Report("final", "an end was told that is not its end", {seen, task.end});
      }
    }
    if (enqueue == nullptr || !enqueue->fresh() || task.moved()) return;
    const Queue& queue = in_.queues[enqueue->asked->q];
    for (const Ask* ask : queue.asks) {
      if (!ask->ok() || ask->asked->t <= enqueue->answer->t) continue;
      if (ask->asked->kind == "delete") none_after("a deleted task was given out", ask->told);
      if (ask->asked->kind != "purge" || task.leases.empty()) continue;
      // What surely waited: it was not due, or its queue was paused from before its enqueue on.
      if (in_.Redriven(task, 0)) continue;  // it may have been dead
      const bool scheduled = enqueue->asked->run_at > ask->told->t && !task.changed();
      const bool paused = std::any_of(queue.asks.begin(), queue.asks.end(), [&](const Ask* pause) {
        return pause->ok() && pause->asked->kind == "pause" && pause->told->t < enqueue->asked->t &&
               !in_.Asked(queue.asks, {"resume", "delete"}, pause->asked->t, ask->told->t);
      });
      if (scheduled || paused) {
        in_.Report("final", "a purged task was given out", {enqueue->asked, ask->told, task.leases.front().deliver});
      }
    }
  }

  void End(const Task& task) {
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
      completed = completed || (lease.outcome != nullptr && lease.outcome->kind == "completed" && !lease.refused());
    }
    for (const Content& content : task.contents) {
      died = died || content.asked->expire_at <= task.end->t || content.asked->life > 0;
    }
    died = died || std::any_of(task.queues.begin(), task.queues.end(), [](const Queue* queue) { return queue->drops; });
    const int64_t since = asked == nullptr ? 0 : asked->t;
    const bool cancelled = in_.Asked(task.asks, {"cancel", "bulk_cancel"}, since);
    if (state == "completed") {
      if (!completed) in_.Report("nowhere", "nobody completed it, and it is completed", {known, task.end});
    } else if (state == "cancelled") {
      if (!cancelled) in_.Report("nowhere", "nobody cancelled it, and it is cancelled", {known, task.end});
    } else if (state == "dead") {
      if (!died) in_.Report("nowhere", "nothing killed it, and it is dead", {known, task.end});
    } else if (state == "gone") {
      const bool ended = completed || cancelled || died;
      if (!in_.AskedOfQueues(task, {"delete"}, since) && !(config_.forgets && ended) &&
          !(in_.AskedOfQueues(task, {"purge"}, since) && !accepted) &&
          !(in_.AskedOfQueues(task, {"purge_dead"}, since) && died && !accepted) &&
          !(in_.Asked(task.asks, {"delete_task", "bulk_delete"}, since) && !accepted)) {
        in_.Report("loss", "an acknowledged task is gone", {known, task.end});
      }
    } else {
      in_.Report("drained", "a task is " + state + " at the end", {known, task.end});
    }
    if (accepted && state != "completed" && state != "gone") {
      in_.Report("loss", "an accepted completion was forgotten", {known, task.end});
    }
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
      return !task.asks.empty() || task.changed() || in_.Redriven(task, 0);
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
