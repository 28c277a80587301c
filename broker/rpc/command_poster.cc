#include "broker/rpc/command_poster.h"

#include <atomic>
#include <utility>

namespace penstock::broker {
namespace {

// A door that says it has room and still refuses (a command larger than the room) is asked this often, then the command
// counts as refused.
constexpr int kAttemptsMax = 100;

}  // namespace

void CommandPoster::Post(Command command, size_t bytes, std::shared_ptr<void> keepalive) {
  {
    MutexLock lock(mu_);
    waiting_.push_back({std::move(command), bytes, false});
    if (draining_) return;
    draining_ = true;
  }
  Drain(keepalive);
}

void CommandPoster::Drain(const std::shared_ptr<void>& keepalive) {
  Waiting next;
  int attempts = 0;
  while (TakeNext(&next)) {
    const absl::Status status =
        owner_.Wanted() ? door_.Post(std::move(next.command), next.bytes) : absl::CancelledError("the caller is gone");
    // Other limits (the disk's watermark) do not go away by waiting for the engine. The thread that makes room may be
    // the one that runs this: it must not wait here for what only it can do.
    if (IsMailboxFull(status) && ++attempts < kAttemptsMax && MayWait(&next)) {
      PutBack(std::move(next));
      if (!RoomNow(keepalive)) return;
      continue;
    }
    attempts = 0;
    Leave(next);
    if (!status.ok()) owner_.OnCommandRefused(status);
  }
  owner_.OnAllPosted();
}

bool CommandPoster::MayWait(Waiting* waiting) const {
  if (held_back_ != nullptr && !waiting->allowed) waiting->allowed = held_back_->Take(waiting->bytes);
  return held_back_ == nullptr || waiting->allowed;
}

void CommandPoster::Leave(const Waiting& waiting) const {
  if (waiting.allowed) held_back_->Return(waiting.bytes);
}

bool CommandPoster::RoomNow(const std::shared_ptr<void>& keepalive) {
  // Whoever comes second, the door with its call or this thread on its way out, goes on.
  auto second = std::make_shared<std::atomic<bool>>(false);
  door_.WhenRoom([this, keepalive, second] {
    if (second->exchange(true)) Drain(keepalive);
  });
  return second->exchange(true);
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

void CommandPoster::PutBack(Waiting next) {
  MutexLock lock(mu_);
  waiting_.push_front(std::move(next));
}

}  // namespace penstock::broker
