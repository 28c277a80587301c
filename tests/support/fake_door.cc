#include "tests/support/fake_door.h"

#include "common/status_details.h"

namespace penstock::broker {

absl::Status FakeDoor::Refusal() {
  if (!full_ && refusal_.ok()) return absl::OkStatus();
  ++refused_;
  changed_.SignalAll();
  return full_ ? LimitReached("limits.mailbox", "the mailbox is full", absl::Milliseconds(100)) : refusal_;
}

absl::Status FakeDoor::MayEnqueue(size_t bytes, absl::Duration patience) {
  MutexLock lock(mu_);
  return Refusal();
}

absl::Status FakeDoor::Post(Command&& command, size_t bytes, absl::Duration patience) {
  Script script;
  {
    MutexLock lock(mu_);
    if (absl::Status refusal = Refusal(); !refusal.ok()) return refusal;
    patience_ = patience;
    script = script_;
  }
  Effects effects;
  if (script && script(command, &effects)) {
    receiver_.Release(std::move(effects));
    return absl::OkStatus();
  }
  MutexLock lock(mu_);
  commands_.push_back(std::move(command));
  changed_.SignalAll();
  return absl::OkStatus();
}

void FakeDoor::WhenRoom(std::function<void()> room) {
  {
    MutexLock lock(mu_);
    if (full_ && !room_always_) {
      wanting_room_.push_back(std::move(room));
      return;
    }
  }
  room();
}

std::unique_ptr<StoreReader> FakeDoor::Snapshot() const {
  MutexLock lock(mu_);
  return store_ == nullptr ? nullptr : store_->Snapshot();
}

void FakeDoor::SetScript(Script script) {
  MutexLock lock(mu_);
  script_ = std::move(script);
}

void FakeDoor::SetStore(const Store* store) {
  MutexLock lock(mu_);
  store_ = store;
}

void FakeDoor::SetFull(bool full) {
  std::vector<std::function<void()>> wanting;
  {
    MutexLock lock(mu_);
    full_ = full;
    if (!full) wanting.swap(wanting_room_);
  }
  for (const auto& room : wanting) room();
}

void FakeDoor::SetRoomAlways(bool always) {
  MutexLock lock(mu_);
  room_always_ = always;
}

void FakeDoor::SetRefusal(absl::Status status) {
  MutexLock lock(mu_);
  refusal_ = std::move(status);
}

absl::Duration FakeDoor::patience() const {
  MutexLock lock(mu_);
  return patience_;
}

Command FakeDoor::TakeAny() {
  MutexLock lock(mu_);
  while (commands_.empty()) changed_.Wait(mu_);
  Command command = std::move(commands_.front());
  commands_.pop_front();
  return command;
}

size_t FakeDoor::waiting() const {
  MutexLock lock(mu_);
  return commands_.size();
}

size_t FakeDoor::refused() const {
  MutexLock lock(mu_);
  return refused_;
}

void FakeDoor::AwaitRefused(size_t count) {
  MutexLock lock(mu_);
  while (refused_ < count) changed_.Wait(mu_);
}

void FakeDoor::Fail(Ticket ticket, absl::Status status) {
  Effects effects;
  effects.replies.push_back({ticket, std::move(status), {}});
  receiver_.Release(std::move(effects));
}

void FakeDoor::Send(SessionMessage message) {
  Effects effects;
  effects.session_messages.push_back(std::move(message));
  receiver_.Release(std::move(effects));
}

void FakeDoor::Send(WatchEvent event) {
  Effects effects;
  effects.watch_events.push_back(std::move(event));
  receiver_.Release(std::move(effects));
}

}  // namespace penstock::broker
