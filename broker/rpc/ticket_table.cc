#include "broker/rpc/ticket_table.h"

#include <utility>

namespace penstock::broker {

Ticket TicketTable::Insert(std::shared_ptr<Waiter> waiter, bool lasting) {
  const Ticket ticket(last_ticket_.fetch_add(1, std::memory_order_relaxed) + 1);
  MutexLock lock(mu_);
  entries_.emplace(ticket, Entry{std::move(waiter), lasting});
  return ticket;
}

bool TicketTable::Remove(Ticket ticket) {
  std::shared_ptr<Waiter> waiter;  // destroyed, if it comes to that, outside the lock
  MutexLock lock(mu_);
  auto found = entries_.find(ticket);
  if (found == entries_.end()) return false;
  waiter = std::move(found->second.waiter);
  entries_.erase(found);
  return true;
}

size_t TicketTable::size() const {
  MutexLock lock(mu_);
  return entries_.size();
}

std::shared_ptr<Waiter> TicketTable::Find(Ticket ticket, bool reply) {
  MutexLock lock(mu_);
  auto found = entries_.find(ticket);
  if (found == entries_.end()) return nullptr;
  if (!reply || found->second.lasting) return found->second.waiter;
  std::shared_ptr<Waiter> waiter = std::move(found->second.waiter);
  entries_.erase(found);
  return waiter;
}

void TicketTable::Release(Effects effects) {
  for (Reply& reply : effects.replies) {
    if (auto waiter = Find(reply.ticket, true)) waiter->OnReply(std::move(reply));
  }
  for (SessionMessage& message : effects.session_messages) {
    if (auto waiter = Find(message.stream, false)) waiter->OnSessionMessage(std::move(message));
  }
  for (WatchEvent& event : effects.watch_events) {
    if (auto waiter = Find(event.ticket, false)) waiter->OnWatchEvent(std::move(event));
  }
  for (TaskEvent& event : effects.task_events) {
    if (auto waiter = Find(event.ticket, false)) waiter->OnTaskEvent(std::move(event));
  }
}

}  // namespace penstock::broker
