#include <algorithm>

#include "tests/checker/rules.h"

namespace penstock::histcheck {
namespace {

// Something other than a worker may have ended the task before anybody was given it.
bool MayHaveEnded(const Index& in, const Queue& queue, const Event& asked) {
  return asked.expire_at != kNever || asked.life > 0 || queue.drops || !asked.unique.empty() ||
         in.Asked(queue.asks, {"purge", "delete", "bulk_cancel", "bulk_delete"}, asked.t);
}

}  // namespace

void CheckBrought(Index* index) {
  Index& in = *index;
  for (const Enqueue& enqueue : in.enqueues) {
    const Event& asked = *enqueue.asked;
    if (asked.task == 0) continue;
    const Task& parent = in.tasks[asked.task];
    const auto lease = std::find_if(parent.leases.begin(), parent.leases.end(),
                                    [&](const Lease& one) { return one.deliver->token == asked.token; });
    if (lease == parent.leases.end() || lease->answer == nullptr || parent.shaky) continue;
    const Phase phase = lease->answer->phase;
    // One that was sent again may have counted before, and be forgotten.
    if (enqueue.seen && (phase == Phase::kFail || (phase == Phase::kStale && !lease->answer->dup))) {
      in.Report("brought", "a task was enqueued by a completion that did not count", {&asked, lease->answer});
    }
    // Nobody was told its id: whoever completed it was given it before.
    const Queue& queue = in.queues[asked.q];
    if (phase == Phase::kOk && !enqueue.seen && in.drained != nullptr && !in.Forgetful() &&
        !MayHaveEnded(in, queue, asked)) {
      in.Report("brought", "a task of an accepted completion is not there", {&asked, lease->answer});
    }
  }
}

}  // namespace penstock::histcheck
