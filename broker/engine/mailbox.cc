#include "broker/engine/mailbox.h"

#include <utility>
#include <variant>

#include "common/status_details.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// What a command costs at least, for the queue itself.
constexpr size_t kOverhead = 128;

}  // namespace

absl::Status Mailbox::Put(Command&& command, size_t bytes) {
  bytes += kOverhead;
  bool signal;
  {
    MutexLock lock(mu_);
    if (!closed_.ok()) return closed_;
    // Work on its way out of the broker comes before new work: completions must not wait behind a flood of enqueues.
    const size_t limit = std::holds_alternative<EnqueueCommand>(command) ? bytes_max_ : bytes_max_ + bytes_max_ / 4;
    // Below half there is room for anything, as WhenRoom says.
    if (bytes_ >= bytes_max_ / 2 && bytes_ + bytes > limit) {
      return LimitReached("limits.mailbox",
                          fmt::format("the broker is busy: {} of commands wait; repeat later", FormatSize(bytes_)),
                          absl::Milliseconds(100));
    }
    bytes_ += bytes;
    ++put_count_;
    items_.push_back({std::move(command), bytes});
    signal = sleeping_ && Ready();
    if (signal) sleeping_ = false;
  }
  if (signal) changed_.Signal();
  return absl::OkStatus();
}

bool Mailbox::Ready() const { return woken_ || (!items_.empty() && (!held_ || bytes_ >= kHeldBytes)); }

void Mailbox::Hold() {
  MutexLock lock(mu_);
  held_ = true;
}

void Mailbox::Release() {
  bool signal;
  {
    MutexLock lock(mu_);
    held_ = false;
    signal = sleeping_ && Ready();
    if (signal) sleeping_ = false;
  }
  if (signal) changed_.Signal();
}

void Mailbox::WhenRoom(std::function<void()> room) {
  {
    MutexLock lock(mu_);
    if (closed_.ok() && bytes_ >= bytes_max_ / 2) {
      room_.push_back(std::move(room));
      return;
    }
  }
  room();
}

std::vector<Command> Mailbox::Take(absl::Duration timeout, size_t bytes) {
  std::vector<Command> taken;
  std::vector<std::function<void()>> room;
  {
    MutexLock lock(mu_);
    if (!Ready() && timeout > absl::ZeroDuration()) {
      sleeping_ = true;
      while (sleeping_) {
        if (!changed_.WaitFor(mu_, timeout)) break;  // the engine looks at its clock again; too early does no harm
      }
      sleeping_ = false;
    }
    woken_ = false;
    for (size_t got = 0; !items_.empty() && got < bytes;) {
      got += items_.front().bytes;
      bytes_ -= items_.front().bytes;
      taken.push_back(std::move(items_.front().command));
      items_.pop_front();
    }
    if (bytes_ < bytes_max_ / 2) room.swap(room_);
  }
  for (auto& call : room) call();
  return taken;
}

void Mailbox::Wake() {
  {
    MutexLock lock(mu_);
    woken_ = true;
    sleeping_ = false;
  }
  changed_.Signal();
}

void Mailbox::Close(const absl::Status& reason) {
  std::vector<std::function<void()>> room;
  {
    MutexLock lock(mu_);
    closed_ = reason;
    room.swap(room_);
  }
  for (auto& call : room) call();
}

uint64_t Mailbox::put_count() const {
  MutexLock lock(mu_);
  return put_count_;
}

size_t Mailbox::bytes() const {
  MutexLock lock(mu_);
  return bytes_;
}

}  // namespace penstock::broker
