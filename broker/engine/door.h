#ifndef PENSTOCK_BROKER_ENGINE_DOOR_H_
#define PENSTOCK_BROKER_ENGINE_DOOR_H_

// Where edges and the engine meet: commands go in, effects come out. Neither side knows more of the other.

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/storage/store.h"
#include "common/status_details.h"

namespace penstock::broker {

// The engine's side that takes commands. Any thread; never blocks.
class CommandDoor {
 public:
  virtual ~CommandDoor() = default;

  // Hands a command over. `bytes` is about what it holds in memory, for the mailbox's limits. Its caller waits no
  // longer than `patience`: if its turn comes later, it is answered with DeadlineExceeded and nothing is done. OK:
  // exactly one answer will come through EffectReceiver for every ticket in it that is to be answered.
  // ResourceExhausted: the mailbox is full (IsMailboxFull), or the command's turn would come too late for the caller,
  // with RetryInfo. DeadlineExceeded: no patience is left. Unavailable: the engine has not started, is stopping or has
  // failed. On an error the command was not taken and `command` is unchanged. Commands other than enqueues are taken
  // even when enqueues fill the mailbox (engine/mailbox.h), and before them.
  virtual absl::Status Post(Command&& command, size_t bytes, absl::Duration patience) = 0;
  absl::Status Post(Command&& command, size_t bytes) {
    return Post(std::move(command), bytes, absl::InfiniteDuration());
  }

  // What Post would say to an enqueue of so many bytes: for those who would rather not make the command in vain.
  virtual absl::Status MayEnqueue(size_t bytes, absl::Duration patience) = 0;

  // Calls `room` once, from any thread, as soon as the mailbox is not full (at once if it isn't). For streams, which
  // stop reading instead of being refused.
  virtual void WhenRoom(std::function<void()> room) = 0;

  // What the edges read from, after a reply has come: the store as it is now. Null when no engine runs. The store,
  // which is opened anew after a full disk, waits for it: keep it for a moment only.
  virtual std::unique_ptr<StoreReader> Snapshot() const = 0;
};

// Whether Post refused because of what waits already: it passes by itself, unlike the disk's watermark.
inline bool IsMailboxFull(const absl::Status& status) {
  return absl::IsResourceExhausted(status) && LimitOf(status).starts_with("limits.mailbox");
}

// The edges' side. Called from the commit thread, in the order of commits, after the batch is as safe as it was
// promised to be. Must not block. When a commit fails, every command that was taken and not answered yet is answered
// with Unavailable ("outcome unknown"); streams and watches that no batch has anything for hear nothing: they end with
// the engine, which their edges are told by its owner.
class EffectReceiver {
 public:
  virtual ~EffectReceiver() = default;
  virtual void Release(Effects effects) = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_DOOR_H_
