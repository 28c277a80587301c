#ifndef PENSTOCK_TESTS_SUPPORT_FAKE_DOOR_H_
#define PENSTOCK_TESTS_SUPPORT_FAKE_DOOR_H_

#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "broker/engine/door.h"
#include "common/mutex.h"

namespace penstock::broker {

// The engine's place in tests of the edges: records what is posted, and releases to the receiver what the test says,
// from the test's thread (it stands for the commit thread). A script may answer commands as they come. Any thread may
// post.
class FakeDoor : public CommandDoor {
 public:
  // Fills in effects and returns true, or returns false: then the command waits for Take.
  using Script = std::function<bool(const Command&, Effects*)>;

  explicit FakeDoor(EffectReceiver& receiver) : receiver_(receiver) {}

  // --- the edges' side ---
  using CommandDoor::Post;
  absl::Status Post(Command&& command, size_t bytes, absl::Duration patience) override;
  absl::Status MayEnqueue(size_t bytes, absl::Duration patience) override;
  void WhenRoom(std::function<void()> room) override;
  std::unique_ptr<StoreReader> Snapshot() const override;

  // --- the test's side ---
  void SetScript(Script script);
  void SetStore(const Store* store);
  // Full: commands are refused with ResourceExhausted. Room again calls those who wait for it.
  void SetFull(bool full);
  // Says that there is room although it is full.
  void SetRoomAlways(bool always);
  // Every command is refused with this; OK: none.
  void SetRefusal(absl::Status status);
  // What the last command was posted with.
  absl::Duration patience() const;

  // Waits for the next command, which must be a CommandType. Commands come out in the order in which they were posted.
  template <class CommandType>
  CommandType Take() {
    Command command = TakeAny();
    return std::get<CommandType>(std::move(command));
  }
  Command TakeAny();
  // Commands not yet taken.
  size_t waiting() const;
  size_t refused() const;
  // Waits until this many posts have been refused.
  void AwaitRefused(size_t count);

  template <class Value>
  void Answer(Ticket ticket, Value value) {
    Effects effects;
    effects.replies.push_back({ticket, absl::OkStatus(), std::move(value)});
    receiver_.Release(std::move(effects));
  }
  void Fail(Ticket ticket, absl::Status status);
  void Send(SessionMessage message);
  void Send(WatchEvent event);

 private:
  absl::Status Refusal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  EffectReceiver& receiver_;
  mutable Mutex mu_;
  CondVar changed_;
  Script script_ ABSL_GUARDED_BY(mu_);
  const Store* store_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool full_ ABSL_GUARDED_BY(mu_) = false;
  bool room_always_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);
  absl::Duration patience_ ABSL_GUARDED_BY(mu_);
  size_t refused_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Command> commands_ ABSL_GUARDED_BY(mu_);
  std::vector<std::function<void()>> wanting_room_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SUPPORT_FAKE_DOOR_H_
