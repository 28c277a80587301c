#ifndef PENSTOCK_BROKER_CORE_WATCHERS_H_
#define PENSTOCK_BROKER_CORE_WATCHERS_H_

#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "broker/core/core_context.h"

namespace penstock::broker {

// Who waits for which task, and who hears of all that finish in a queue. In memory only: after a restart the waiting
// clients ask again.
class Watchers {
 public:
  explicit Watchers(CoreContext& context) : context_(context) {}

  bool full() const { return tasks_.size() + subscribers_.size() >= context_.options.max_watchers; }
  void Add(Ticket ticket, TaskId task, bool only_end);
  void Remove(Ticket ticket);

  // Tells of every task of the queue that finishes; with a type, of those only.
  void Subscribe(Ticket ticket, QueueId queue, std::string type);
  bool subscribed() const { return !subscribers_.empty(); }
  // A task finished. `event` without its ticket.
  void Tell(QueueId queue, const TaskEvent& event);
  // The queue is going away.
  void EndSubscriptions(QueueId queue, const absl::Status& status);

  // The task changed; ends the watches when the state is final. Costs nothing when nobody watches anything.
  bool anybody() const { return !tasks_.empty(); }
  bool Watched(TaskId task) const { return watchers_.contains(task); }
  // Every watched task, in the order of the ids.
  std::vector<TaskId> Tasks() const;
  void Notify(const TaskSnapshot& snapshot);
  // The task is gone without an end of its own (purged).
  void Fail(TaskId task, const absl::Status& status);

 private:
  struct Watcher {
    Ticket ticket;
    bool only_end = false;
  };
  CoreContext& context_;
  absl::flat_hash_map<TaskId, std::vector<Watcher>> watchers_;
  absl::flat_hash_map<Ticket, TaskId> tasks_;
  struct Subscriber {
    QueueId queue;
    std::string type;  // empty: all
  };
  absl::btree_map<Ticket, Subscriber> subscribers_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_WATCHERS_H_
