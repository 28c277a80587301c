#include "broker/engine/mailbox.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "common/random.h"
#include "common/status_details.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// What a command costs at least, for the queue itself.
constexpr size_t kOverhead = 128;
// When to repeat what was refused, if nobody knows how long the backlog takes; and the bounds if somebody does.
constexpr absl::Duration kRetryUnknown = absl::Milliseconds(100);
constexpr absl::Duration kRetryMin = absl::Milliseconds(50);
constexpr absl::Duration kRetryMax = absl::Seconds(30);

// The ticket of a command that somebody waits for; none of what streams send.
Ticket TicketOf(const Command& command) {
  return std::visit(
      [](const auto& one) {
        if constexpr (requires { one.ticket; }) {
          return one.ticket;
        } else {
          return Ticket();
        }
      },
      command);
}

}  // namespace

Mailbox::Class Mailbox::ClassOf(const Command& command) {
  if (std::holds_alternative<SessionInput>(command) || std::holds_alternative<OpenSessionCommand>(command) ||
      std::holds_alternative<SessionBroken>(command)) {
    return kWorkers;
  }
  return std::holds_alternative<EnqueueCommand>(command) ? kProducers : kOperators;
}

size_t Mailbox::EnqueueBytes() const {
  const size_t least = std::min(limits_.bytes_min, limits_.bytes);
  // The clock is not looked at for a mailbox with room in any case.
  if (bytes_ < least / 2) return limits_.bytes;
  const double rate = RateNow();
  if (rate == 0) return limits_.bytes;
  const double timely = rate * absl::ToDoubleSeconds(limits_.wait);
  return std::max(least, static_cast<size_t>(std::min(timely, static_cast<double>(limits_.bytes))));
}

absl::Status Mailbox::Refusal(std::string_view limit, double bytes_too_many) const {
  const double rate = RateNow();
  absl::Duration retry_after = kRetryUnknown;
  if (rate > 0) retry_after = std::clamp(absl::Seconds(bytes_too_many / rate), kRetryMin, kRetryMax);
  // Those who are refused together do not come back together.
  const double draw = static_cast<double>(MixBits(++refusals_) >> 11) * 0x1p-53;
  retry_after = absl::Milliseconds(absl::ToInt64Milliseconds(retry_after * (1 + draw)));
  return LimitReached(
      limit, fmt::format("the broker is busy: {} commands of {} wait; repeat later", count_, FormatSize(bytes_)),
      retry_after);
}

absl::Status Mailbox::Check(Class of, size_t bytes, absl::Duration patience) const {
  if (!closed_.ok()) return closed_;
  if (patience <= absl::ZeroDuration()) {
    return absl::DeadlineExceededError("the call's deadline has passed; nothing was done for this call");
  }
  // Work on its way out of the broker comes before new work: completions must not wait behind a flood of enqueues.
  const size_t more = of == kProducers ? 0 : of == kOperators ? 8 : 4;
  const auto over = [&](size_t limit) { return more == 0 ? limit : limit + limit / more; };
  // Whatever else waits, a worker's renewal must get in: only workers' own commands count against it.
  const size_t count = of == kWorkers ? lanes_[kWorkers].items.size() : count_;
  // Those who were told to wait for room would never see any if others took it as it comes.
  const bool their_turn = of == kProducers && !room_.empty() && !HasRoom();
  if (count >= over(limits_.commands) || their_turn) {
    return Refusal("limits.mailbox_commands", static_cast<double>(bytes_) / 2);
  }
  const size_t room = of == kProducers ? EnqueueBytes() : limits_.bytes;
  // Below half there is room for anything, as WhenRoom says.
  if (bytes_ >= room / 2 && bytes_ + bytes > over(room)) {
    return Refusal(room < limits_.bytes ? "limits.mailbox_wait" : "limits.mailbox",
                   static_cast<double>(bytes_ + bytes) - static_cast<double>(room) / 2);
  }
  // Half of the caller's time is for the command's own commit and the way back.
  const double rate = patience == absl::InfiniteDuration() ? 0 : RateNow();
  if (rate > 0) {
    double ahead = held_ ? rate_.last_three() : 0;
    for (size_t lane = 0; lane <= of; ++lane) ahead += static_cast<double>(lanes_[lane].bytes);
    const double timely = rate * absl::ToDoubleSeconds(patience / 2);
    if (ahead > timely) return Refusal("limits.mailbox_wait", ahead - timely);
  }
  return absl::OkStatus();
}

absl::Status Mailbox::MayEnqueue(size_t bytes, absl::Duration patience) const {
  MutexLock lock(mu_);
  return Check(kProducers, bytes + kOverhead, patience);
}

absl::Status Mailbox::Put(Command&& command, size_t bytes, absl::Duration patience) {
  bytes += kOverhead;
  const Class of = ClassOf(command);
  const absl::Duration deadline = patience == absl::InfiniteDuration() ? patience : ElapsedNow() + patience;
  bool signal;
  {
    MutexLock lock(mu_);
    if (absl::Status status = Check(of, bytes, patience); !status.ok()) return status;
    bytes_ += bytes;
    ++count_;
    if (of == kWorkers) ++worker_put_count_;
    Lane& lane = lanes_[of];
    lane.bytes += bytes;
    lane.items.push_back({std::move(command), bytes, deadline});
    signal = sleeping_ && Ready();
    if (signal) sleeping_ = false;
  }
  if (signal) changed_.Signal();
  return absl::OkStatus();
}

bool Mailbox::Ready() const { return woken_ || (count_ > 0 && (!held_ || bytes_ >= kHeldBytes)); }

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

bool Mailbox::HasRoom() const { return count_ == 0 || (bytes_ < EnqueueBytes() / 2 && count_ < limits_.commands / 2); }

void Mailbox::WhenRoom(std::function<void()> room) {
  {
    MutexLock lock(mu_);
    if (closed_.ok() && !HasRoom()) {
      room_.push_back(std::move(room));
      return;
    }
  }
  room();
}

void Mailbox::TakeFront(Class of, absl::Duration now, size_t* got, Taken* taken) {
  Lane& lane = lanes_[of];
  Item& item = lane.items.front();
  lane.bytes -= item.bytes;
  bytes_ -= item.bytes;
  --count_;
  if (item.deadline <= now) {
    taken->expired.push_back(TicketOf(item.command));
  } else {
    *got += item.bytes;
    if (of == kWorkers) ++taken->worker_commands;
    taken->commands.push_back(std::move(item.command));
  }
  lane.items.pop_front();
}

Mailbox::Taken Mailbox::Take(absl::Duration timeout, size_t bytes) {
  Taken taken;
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
    // With nothing to take there is nothing to measure.
    const absl::Duration now = count_ > 0 ? ElapsedNow() : absl::ZeroDuration();
    const bool any = count_ > 0;
    size_t got = 0;
    for (const bool keeping : {true, false}) {
      for (size_t of = 0; of < kClasses; ++of) {
        size_t share = bytes;
        for (size_t after = of + 1; keeping && after < kClasses; ++after) {
          if (!lanes_[after].items.empty()) share -= bytes / 8;
        }
        // A large command of one class must not use up what is kept for the others.
        const size_t end = keeping ? std::max(share, got + bytes / 8) : bytes;
        while (!lanes_[of].items.empty() && got < end) TakeFront(static_cast<Class>(of), now, &got, &taken);
      }
    }
    if (any) rate_.Taken(now, got, count_ > 0);
    if (HasRoom()) room.swap(room_);
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

uint64_t Mailbox::worker_put_count() const {
  MutexLock lock(mu_);
  return worker_put_count_;
}

size_t Mailbox::bytes() const {
  MutexLock lock(mu_);
  return bytes_;
}

void AnswerExpired(const std::vector<Ticket>& expired, Effects* effects) {
  for (Ticket ticket : expired) {
    effects->replies.push_back({ticket,
                                absl::DeadlineExceededError("the call's deadline passed before its turn came; nothing "
                                                            "was done for this call"),
                                {}});
  }
}

}  // namespace penstock::broker
