#include <algorithm>

#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

class Judge {
 public:
  explicit Judge(Index* index) : in_(*index) {}

  void Run() {
    for (const auto& [id, task] : in_.tasks) {
      if (task.shaky) continue;
      for (const Lease& lease : task.leases) {
        if (const Content* content = task.ContentOf(lease)) CheckNewest(task, lease, *content);
      }
      for (const Ask* ask : task.asks) CheckAsk(task, *ask);
      for (const Content& content : task.contents) {
        if (content.ok() && content.answer->replaced) CheckReplaced(task, content);
      }
    }
  }

 private:
  void CheckNewest(const Task& task, const Lease& lease, const Content& content) {
    if (content.refused() && content.asked->op == Op::kAsk) {
      return in_.Report("update", "what was refused was given out", {content.asked, content.answer, lease.deliver});
    }
    for (const Content& newer : task.contents) {
      if (newer.ok() && content.SurelyBefore(newer) && in_.SurelyAfter(lease.deliver, newer.answer)) {
        in_.Report("update", "a task was given out as it was before it was changed",
                   {content.asked, newer.asked, newer.answer, lease.deliver});
      }
    }
  }

  // What is only done to a task that waits was not done to one that ran meanwhile.
  void CheckAsk(const Task& task, const Ask& ask) {
    const bool deletes = ask.asked->kind == "delete_task";
    if (!ask.ok() || (!deletes && ask.asked->kind != "update_task")) return;
    for (const Lease& lease : task.leases) {
      if (lease.deliver->t < ask.asked->t && lease.held_until > ask.told->t) {
        in_.Report("update", "a running task was changed or deleted", {lease.deliver, ask.asked, ask.told});
      }
      if (deletes && in_.SurelyAfter(lease.deliver, ask.told)) {
        in_.Report("final", "a task that had been deleted was given out", {ask.told, lease.deliver});
      }
      if (lease.accepted("completed") && lease.answer->t < ask.asked->t) {
        in_.Report("update", "a completed task was changed or deleted", {lease.answer, ask.asked, ask.told});
      }
    }
    if (deletes && task.end != nullptr && task.end->state != "gone") {
      in_.Report("final", "a deleted task is there at the end", {ask.told, task.end});
    }
  }

  // Only one that no worker has had becomes another.
  void CheckReplaced(const Task& task, const Content& content) {
    for (const Lease& lease : task.leases) {
      if (lease.deliver->t < content.asked->t) {
        in_.Report("unique", "a task that had been given out was replaced",
                   {lease.deliver, content.asked, content.answer});
      }
    }
  }

  Index& in_;
};

}  // namespace

void CheckChanges(Index* index) { Judge(index).Run(); }

}  // namespace penstock::histcheck
