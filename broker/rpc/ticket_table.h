#ifndef PENSTOCK_BROKER_RPC_TICKET_TABLE_H_
#define PENSTOCK_BROKER_RPC_TICKET_TABLE_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "broker/core/effects.h"
#include "broker/engine/door.h"
#include "common/mutex.h"

namespace penstock::broker {

// Who waits for what the engine sends to a ticket. Called from the commit thread (a reply that the door refused: from
// the asking thread); must not block.
class Waiter {
 public:
  virtual ~Waiter() = default;
  virtual void OnReply(Reply reply) {}
  virtual void OnSessionMessage(SessionMessage message) {}
  virtual void OnWatchEvent(WatchEvent event) {}
  virtual void OnTaskEvent(TaskEvent event) {}
};

// Hands out tickets and brings what the engine releases to those who wait for it. Tickets are never used twice, so what
// comes for one that is gone is dropped. Shares the ownership of waiters until their ticket is taken out. Any thread;
// the server makes it before the engine and destroys it after.
class TicketTable : public EffectReceiver {
 public:
  // A ticket for one reply, which takes it out.
  Ticket Add(std::shared_ptr<Waiter> waiter) { return Insert(std::move(waiter), false); }
  // A ticket that stays until Remove: a stream, a watch.
  Ticket AddLasting(std::shared_ptr<Waiter> waiter) { return Insert(std::move(waiter), true); }
  // False if it is not there (any more).
  bool Remove(Ticket ticket);
  size_t size() const;

  // From one thread only.
  void Release(Effects effects) override;

 private:
  struct Entry {
    std::shared_ptr<Waiter> waiter;
    bool lasting = false;
  };

  Ticket Insert(std::shared_ptr<Waiter> waiter, bool lasting);
  std::shared_ptr<Waiter> Find(Ticket ticket, bool reply);

  std::atomic<uint64_t> last_ticket_{0};
  mutable Mutex mu_;
  absl::flat_hash_map<Ticket, Entry> entries_ ABSL_GUARDED_BY(mu_);
};

// Calls a function with its one reply.
class ReplyWaiter : public Waiter {
 public:
  explicit ReplyWaiter(std::function<void(Reply)> done) : done_(std::move(done)) {}
  void OnReply(Reply reply) override { done_(std::move(reply)); }

 private:
  const std::function<void(Reply)> done_;
};

// Posts `command` and calls `done` once with its reply, which carries the door's status if that refuses. `patience`: as
// CommandDoor::Post.
template <class CommandType>
void Ask(CommandDoor& door, TicketTable& tickets, CommandType command, size_t bytes, std::function<void(Reply)> done,
         absl::Duration patience = absl::InfiniteDuration()) {
  auto waiter = std::make_shared<ReplyWaiter>(std::move(done));
  const Ticket ticket = tickets.Add(waiter);
  command.ticket = ticket;
  const absl::Status status = door.Post(std::move(command), bytes, patience);
  if (!status.ok() && tickets.Remove(ticket)) waiter->OnReply(Reply{ticket, status, {}});
}

// What a command without payload takes in the mailbox.
inline constexpr size_t kSmallCommandBytes = 512;

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TICKET_TABLE_H_
