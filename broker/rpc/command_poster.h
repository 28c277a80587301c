#ifndef PENSTOCK_BROKER_RPC_COMMAND_POSTER_H_
#define PENSTOCK_BROKER_RPC_COMMAND_POSTER_H_

#include <cstddef>
#include <deque>
#include <memory>

#include "absl/status/status.h"
#include "broker/core/command.h"
#include "broker/engine/door.h"
#include "common/mutex.h"

namespace penstock::broker {

// Posts the commands of one stream in their order and, where a unary call would be refused because the mailbox is full,
// waits for room: none is lost. The stream reads on when all have been taken. Owned by the stream; any thread.
class CommandPoster {
 public:
  // Called without a lock held, from the posting thread or whichever makes room.
  class Owner {
   public:
    // Everything handed over so far has been taken, or refused.
    virtual void OnAllPosted() {}
    // A command was not taken, for another reason than a mailbox that is full for a moment, and is dropped: the engine
    // stops or has failed, or takes no enqueues.
    virtual void OnCommandRefused(const absl::Status& status) {}

   protected:
    ~Owner() = default;
  };

  CommandPoster(CommandDoor& door, Owner& owner) : door_(door), owner_(owner) {}

  // `keepalive` owns the stream while it waits for room.
  void Post(Command command, size_t bytes, std::shared_ptr<void> keepalive);

 private:
  struct Waiting {
    Command command;
    size_t bytes = 0;
  };

  void Drain(const std::shared_ptr<void>& keepalive);
  bool TakeNext(Waiting* next);
  void PutBack(Waiting next);
  // True: there is room already. False: Drain is called as soon as there is.
  bool RoomNow(const std::shared_ptr<void>& keepalive);

  CommandDoor& door_;
  Owner& owner_;
  Mutex mu_;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;  // somebody posts, or waits for room
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_COMMAND_POSTER_H_
