#ifndef PENSTOCK_BROKER_RPC_TASK_WATCH_H_
#define PENSTOCK_BROKER_RPC_TASK_WATCH_H_

#include <memory>
#include <optional>

#include "broker/rpc/command_poster.h"
#include "broker/rpc/rpc_context.h"
#include "common/mutex.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

// Follows one task for WaitTask and WatchTask: hears of its changes from the core and reads it in the pool. Only the
// newest change counts: one that comes while an earlier one is being read, or not yet asked for, replaces it. Any
// thread; shared by its call, the ticket table and the pool.
class TaskWatch final : public Waiter, private CommandPoster::Owner, public std::enable_shared_from_this<TaskWatch> {
 public:
  // The call that watches. Called without a lock held, from the pool, the commit thread or the thread that starts;
  // never after Leave has returned on the same thread, but possibly once while it is being called on another.
  class Listener {
   public:
    virtual ~Listener() = default;
    // The task as it is now. The next comes only after Next.
    virtual void OnTask(v1::Task task, bool finished) = 0;
    // The watch is over.
    virtual void OnWatchFailed(const absl::Status& status) = 0;
  };

  TaskWatch(RpcContext& context, std::shared_ptr<Listener> listener);

  void Start(TaskId task, bool only_end);
  // Ready for the next change.
  void Next();
  // No more is wanted; tells the core. Safe twice.
  void Leave();

  void OnReply(Reply reply) override;
  void OnWatchEvent(WatchEvent event) override;

 private:
  void Hear(const absl::Status& status, TaskSnapshot snapshot);
  // Reads the newest change if there is one and nothing is being read.
  void ReadNewest();
  void Read(const TaskSnapshot& snapshot);
  void Fail(const absl::Status& status);
  std::shared_ptr<Listener> listener();

  RpcContext& context_;
  CommandPoster poster_;
  Ticket ticket_;  // constant after Start

  Mutex mu_;
  std::shared_ptr<Listener> listener_ ABSL_GUARDED_BY(mu_);  // null after Leave
  std::optional<TaskSnapshot> newest_ ABSL_GUARDED_BY(mu_);
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // from the start of a read until Next
  bool over_ ABSL_GUARDED_BY(mu_) = false;  // the core says no more
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TASK_WATCH_H_
