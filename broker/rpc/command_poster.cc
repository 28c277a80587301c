#include "broker/rpc/command_poster.h"

#include <utility>

namespace penstock::broker {

void CommandPoster::Post(Command command, size_t bytes, std::shared_ptr<void> keepalive) {
  {
    MutexLock lock(mu_);
    waiting_.push_back({std::move(command), bytes});
    if (draining_) return;
    draining_ = true;
  }
  Drain(keepalive);
}

void CommandPoster::Drain(const std::shared_ptr<void>& keepalive) {
  Waiting next;
  while (TakeNext(&next)) {
    const absl::Status status = door_.Post(std::move(next.command), next.bytes);
    if (absl::IsResourceExhausted(status)) {
      {
        MutexLock lock(mu_);
        waiting_.push_front(std::move(next));
      }
      door_.WhenRoom([this, keepalive] { Drain(keepalive); });
      return;
    }
    if (!status.ok()) owner_.OnCommandRefused(status);
  }
  owner_.OnAllPosted();
}

bool CommandPoster::TakeNext(Waiting* next) {
  MutexLock lock(mu_);
  if (waiting_.empty()) {
    draining_ = false;
    return false;
  }
  *next = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

}  // namespace penstock::broker
