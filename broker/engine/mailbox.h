#ifndef PENSTOCK_BROKER_ENGINE_MAILBOX_H_
#define PENSTOCK_BROKER_ENGINE_MAILBOX_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/core/command.h"
#include "common/mutex.h"

namespace penstock::broker {

// Commands on their way to the engine: many threads put, one takes all at once. Bounded in bytes.
class Mailbox {
 public:
  explicit Mailbox(size_t bytes_max) : bytes_max_(bytes_max) {}

  // ResourceExhausted: full; commands other than enqueues may fill a quarter more. Unavailable: closed. The command is
  // unchanged then.
  absl::Status Put(Command&& command, size_t bytes);
  // Calls `room` as soon as the mailbox is not full: at once, or on the engine's thread. When it is closed, too.
  void WhenRoom(std::function<void()> room);

  // Waits until there are commands, Wake is called or `timeout` has passed; then takes what there is, up to the first
  // command with which it is `bytes` or more. While the mailbox is held, fewer than kHeldBytes of commands are waited
  // on, too.
  std::vector<Command> Take(absl::Duration timeout, size_t bytes);
  // How many commands were ever put in; those taken out count up to the same numbers, in the same order.
  uint64_t put_count() const;
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
  // There is something that the engine should be woken for.
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // A wake-up costs more than a look: Put signals only when the engine sleeps.
  const size_t bytes_max_;
  mutable Mutex mu_;
  CondVar changed_;
  struct Item {
    Command command;
    size_t bytes;
  };
  std::deque<Item> items_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t put_count_ ABSL_GUARDED_BY(mu_) = 0;
  bool sleeping_ ABSL_GUARDED_BY(mu_) = false;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
  std::vector<std::function<void()>> room_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_MAILBOX_H_
