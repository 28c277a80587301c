#ifndef PENSTOCK_BROKER_RPC_COMMAND_POSTER_H_
#define PENSTOCK_BROKER_RPC_COMMAND_POSTER_H_

#include <cstddef>
#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "broker/core/command.h"
#include "broker/engine/door.h"
#include "broker/rpc/allowance.h"
#include "common/mutex.h"

namespace penstock::broker {

// Posts the commands of one stream in their order and, where a unary call would be refused because the mailbox is full,
// waits for room: none is lost. The stream reads on when all have been taken. With an allowance, which several share, a
// command that would wait beyond it is refused instead. Owned by the stream; any thread.
class CommandPoster {
 public:
  // Called without a lock held, from the posting thread or whichever makes room.
  class Owner {
   public:
    // Everything handed over so far has been taken, or refused.
    virtual void OnAllPosted() {}
    // A command was not taken, for another reason than a mailbox that is full for a moment, and is dropped: the engine
    // stops or has failed, or takes no enqueues; or too many wait for room already.
    virtual void OnCommandRefused(const absl::Status& status) {}
    // False: whoever sent the commands is gone, and would rather send them again than have them done. Those that wait
    // are refused then.
    virtual bool Wanted() { return true; }

   protected:
    ~Owner() = default;
  };

  CommandPoster(CommandDoor& door, Owner& owner, Allowance* held_back = nullptr)
      : door_(door), owner_(owner), held_back_(held_back) {}

  // `keepalive` owns the stream while it waits for room.
  void Post(Command command, size_t bytes, std::shared_ptr<void> keepalive);

 private:
  struct Waiting {
    Command command;
    size_t bytes = 0;
    bool allowed = false;  // its bytes are taken from the allowance
  };

  void Drain(const std::shared_ptr<void>& keepalive);
  bool TakeNext(Waiting* next);
  void PutBack(Waiting next);
  // Whether a command may wait for room.
  bool MayWait(Waiting* waiting) const;
  // It waits no more.
  void Leave(const Waiting& waiting) const;
  // True: there is room already. False: Drain is called as soon as there is.
  bool RoomNow(const std::shared_ptr<void>& keepalive);

  CommandDoor& door_;
  Owner& owner_;
  Allowance* const held_back_;  // null: all may wait
  Mutex mu_;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;  // somebody posts, or waits for room
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_COMMAND_POSTER_H_
