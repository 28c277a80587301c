#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/checker/periods.h"
#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

// A task that surely waited between two moments.
struct Wait {
  const Enqueue* enqueue = nullptr;
  int64_t from = 0;
  int64_t until = 0;
  // Nothing but its turn keeps it, and it waits since its enqueue.
  bool plain() const {
    const Event& asked = *enqueue->asked;
    return asked.key.empty() && asked.run_at <= 0 && asked.delay <= 0;
  }
};

class Judge {
 public:
  Judge(Index* index, const Queue& queue) : in_(*index), queue_(queue) {
    for (const Enqueue* enqueue : queue.enqueues) AddWait(*enqueue);
  }

  void CheckLimits() {
    std::vector<const Ask*> asks;
    for (const Ask* ask : queue_.asks) {
      if (!ask->asked->overflow.empty() || ask->asked->kind == "delete") asks.push_back(ask);
    }
    const std::vector<Period> periods = SurePeriods(asks);
    std::map<int64_t, std::vector<const Enqueue*>> calls;
    for (const Enqueue* enqueue : queue_.enqueues) {
      if (enqueue->fresh()) calls[enqueue->asked->call].push_back(enqueue);
    }
    for (const auto& [call, enqueues] : calls) {
      for (const Period& period : periods) {
        const bool within = period.told->t < enqueues.front()->asked->t && enqueues.front()->answer->t < period.until;
        if (within && period.asked->kind != "delete") CheckCall(period, enqueues);
      }
    }
  }

  // Of a queue that is full, the one that has waited longest is given up.
  void CheckDropped(const Task& task) {
    if (!queue_.drops) {
      return in_.Report("waiting", "a queue that drops nothing dropped a task", {task.enqueue->asked, task.end});
    }
    for (const Wait& wait : waits_) {
      if (wait.plain() && wait.from < task.enqueue->asked->t && wait.until > task.end->until) {
        in_.Report("waiting", "a task was dropped although an older one waited",
                   {wait.enqueue->asked, task.enqueue->asked, task.end});
        return;
      }
    }
  }

 private:
  void AddWait(const Enqueue& enqueue) {
    if (!enqueue.fresh()) return;
    const Task& task = in_.tasks[enqueue.task];
    const Event& asked = *enqueue.asked;
    if (!task.asks.empty() || task.changed() || task.shaky || asked.expire_at != kNever || asked.life > 0) return;
    Wait wait{&enqueue, enqueue.answer->t, asked.run_at};
    if (in_.SurelyUntouched(task, enqueue.answer))
      wait.until = std::max(wait.until, task.leases.front().deliver->since);
    for (const Ask* ask : queue_.asks) {
      const bool clears = ask->asked->kind == "purge" || ask->asked->kind == "delete";
      if (clears && !ask->refused() && ask->end() >= asked.t) wait.until = std::min(wait.until, ask->asked->t);
    }
    if (wait.until > wait.from) waits_.push_back(wait);
  }

  // `enqueues` came in one call, which was accepted.
  void CheckCall(const Period& period, const std::vector<const Enqueue*>& enqueues) {
    const int64_t asked = enqueues.front()->asked->t, told = enqueues.back()->answer->t;
    auto tasks = static_cast<int64_t>(enqueues.size());
    int64_t bytes = 0;
    for (const Enqueue* enqueue : enqueues) bytes += enqueue->asked->bytes;
    for (const Wait& wait : waits_) {
      if (wait.from >= asked || wait.until <= told) continue;
      ++tasks;
      bytes += wait.enqueue->asked->bytes;
    }
    auto check = [&](const char* what, int64_t there, int64_t most) {
      if (most <= 0 || there <= most) return;
      in_.Report("waiting", std::to_string(there) + " " + what + " wait in a queue that takes " + std::to_string(most),
                 {period.asked, enqueues.front()->asked, enqueues.front()->answer});
    };
    check("tasks", tasks, period.asked->max_waiting);
    check("bytes", bytes, period.asked->max_bytes);
  }

  Index& in_;
  const Queue& queue_;
  std::vector<Wait> waits_;
};

}  // namespace

void CheckWaiting(Index* index) {
  Index& in = *index;
  std::map<const Queue*, std::vector<const Task*>> dropped;
  for (const auto& [id, task] : in.tasks) {
    if (task.enqueue == nullptr || task.moved() || task.end == nullptr || task.end->reason != "dropped") continue;
    dropped[&in.queues[task.enqueue->asked->q]].push_back(&task);
  }
  for (const auto& [name, queue] : in.queues) {
    const bool limited =
        std::any_of(queue.asks.begin(), queue.asks.end(), [](const Ask* ask) { return !ask->asked->overflow.empty(); });
    if (in.Forgetful(queue) || (!limited && dropped[&queue].empty())) continue;
    Judge judge(index, queue);
    judge.CheckLimits();
    if (in.last_jump >= 0) continue;
    for (const Task* task : dropped[&queue]) judge.CheckDropped(*task);
  }
}

}  // namespace penstock::histcheck
