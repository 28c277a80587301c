#ifndef PENSTOCK_BROKER_ENGINE_MAILBOX_H_
#define PENSTOCK_BROKER_ENGINE_MAILBOX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/engine/drain_rate.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace penstock::broker {

// What may wait. Operators may go an eighth, workers a quarter over `bytes` and `commands`.
struct MailboxLimits {
  size_t bytes = 64 << 20;
  size_t commands = 10'000;
  // Enqueues are refused when what waits takes the engine longer than this, at the rate of the last seconds: whoever
  // is taken is served while he still waits.
  absl::Duration wait = absl::Seconds(2);
  // But so much may wait however slow the store is: two batches, one to be written and one to follow.
  size_t bytes_min = 2 << 20;
};

// Commands on their way to the engine: many threads put, one takes all at once. What workers say goes first (it ends
// work), then what operators and askers want, then enqueues (they bring more); each class in its order. Bounded in
// bytes, in commands and in the time that what waits takes.
class Mailbox {
 public:
  Mailbox(const MailboxLimits& limits, const Clock& clock) : limits_(limits), clock_(clock) {}

  // A command whose caller waits no longer than `patience` is not given out later than that. ResourceExhausted: full,
  // or its turn would come too late for the caller; with RetryInfo. DeadlineExceeded: the caller waits no more.
  // Unavailable: closed. On an error the command is unchanged.
  absl::Status Put(Command&& command, size_t bytes, absl::Duration patience = absl::InfiniteDuration());
  // What Put would say to an enqueue of so many bytes, before it is made.
  absl::Status MayEnqueue(size_t bytes, absl::Duration patience) const;
  // Calls `room` as soon as the mailbox is less than half full: at once, or on the engine's thread. When it is closed,
  // too.
  void WhenRoom(std::function<void()> room);

  struct Taken {
    std::vector<Command> commands;
    std::vector<Ticket> expired;  // their callers wait no more
    size_t worker_commands = 0;   // of `commands`
  };
  // Waits until there are commands, Wake is called or `timeout` has passed; then takes what there is, up to the first
  // command with which it is `bytes` or more. An eighth of that is kept for each class that has to wait for others.
  // While the mailbox is held, fewer than kHeldBytes of commands are waited on, too.
  Taken Take(absl::Duration timeout, size_t bytes);
  // How many commands of workers were ever put in; those taken out count up to the same numbers, in the same order.
  uint64_t worker_put_count() const;
  // From Hold to Release few commands wait for more: they could only wait behind the commit that is under way, and one
  // commit of many costs far less than several of a few. From this size on it is worth more to apply them meanwhile.
  static constexpr size_t kHeldBytes = 64 << 10;
  void Hold();
  void Release();
  // Ends a Take.
  void Wake();
  // Takes no more commands. Those that are in it can still be taken.
  void Close(const absl::Status& reason);

  size_t bytes() const;

 private:
  // Who goes first.
  enum Class : size_t { kWorkers, kOperators, kProducers, kClasses };
  struct Item {
    Command command;
    size_t bytes;
    absl::Duration deadline;  // elapsed time
  };
  struct Lane {
    std::deque<Item> items;
    size_t bytes = 0;
  };

  static Class ClassOf(const Command& command);
  absl::Status Check(Class of, size_t bytes, absl::Duration patience) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Enqueues may fill so many bytes.
  size_t EnqueueBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `bytes_too_many`: as soon as they are taken it is worth coming again.
  absl::Status Refusal(std::string_view limit, double bytes_too_many) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TakeFront(Class of, absl::Duration now, size_t* got, Taken* taken) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // There is something that the engine should be woken for.
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration ElapsedNow() const { return clock_.Read().elapsed; }
  double RateNow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return rate_.At(ElapsedNow()); }

  const MailboxLimits limits_;
  const Clock& clock_;
  mutable Mutex mu_;
  // A wake-up costs more than a look: Put signals only when the engine sleeps.
  CondVar changed_;
  std::array<Lane, kClasses> lanes_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of all lanes
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
  DrainRate rate_ ABSL_GUARDED_BY(mu_);
  uint64_t worker_put_count_ ABSL_GUARDED_BY(mu_) = 0;
  mutable uint64_t refusals_ ABSL_GUARDED_BY(mu_) = 0;
  bool sleeping_ ABSL_GUARDED_BY(mu_) = false;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
  std::vector<std::function<void()>> room_ ABSL_GUARDED_BY(mu_);
};

// Tells those whose time was up that nothing was done for them.
void AnswerExpired(const std::vector<Ticket>& expired, Effects* effects);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_MAILBOX_H_
