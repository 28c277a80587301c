#ifndef PENSTOCK_WORKER_RUN_QUEUE_H_
#define PENSTOCK_WORKER_RUN_QUEUE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "worker/handler.h"
#include "worker/task_context.h"

namespace penstock {

// What was delivered and has not started: which tasks start next, alone or as a batch. Without threads and clock; time
// is an argument, elapsed since any start. The executor guards it by its mutex.
//
// Tasks start in the order in which they came. A batch is *due* when it is full, or when its first task has waited for
// max_wait; from then on it stands in the order by the age of its first task. When it is its turn and there are fewer
// slots than it has tasks, it waits max_wait for more, and those behind it wait with it: otherwise tasks that need one
// slot would take every slot that comes free, and batches of a busy worker would be batches of one. After that it takes
// what slots there are.
class RunQueue {
 public:
  // `batches`: the types that are handled in batches, with a max_size of at least 1.
  explicit RunQueue(const std::map<std::string, BatchOptions>& batches);

  void Add(TaskDelivery task, absl::Duration now);
  // Moves what starts now to `tasks`: one task, or a batch of tasks of one type; nothing if there is nothing that may,
  // with so many free slots.
  void Take(int free_slots, absl::Duration now, std::vector<TaskDelivery>* tasks);
  // Take would give something.
  bool Ready(int free_slots, absl::Duration now) const;
  // When Take will give something because time passes, with the slots that are free now; infinite: never.
  absl::Duration NextDue(int free_slots, absl::Duration now) const;
  void Clear();
  bool empty() const { return size_ == 0; }

 private:
  struct Waiting {
    TaskDelivery task;
    uint64_t order = 0;
    absl::Duration since;
  };
  struct Batch {
    size_t max_size = 1;
    absl::Duration max_wait;
    std::deque<Waiting> waiting;

    absl::Duration DueAt() const;
    size_t Size() const;  // of the next one
  };
  // What is next by the time, whatever slots there are: nothing, the first single task, or a batch of a type.
  struct Turn {
    bool found = false;
    const Batch* batch = nullptr;
  };
  Turn Next(absl::Duration now) const;
  // How many of its tasks start now; 0: it waits for more slots.
  static size_t CountNow(const Turn& turn, int free_slots, absl::Duration now);

  std::deque<Waiting> singles_;
  std::map<std::string, Batch> batches_;
  uint64_t next_order_ = 0;
  size_t size_ = 0;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_RUN_QUEUE_H_
