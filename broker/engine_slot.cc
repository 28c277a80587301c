#include "broker/engine_slot.h"

#include <utility>
#include <variant>

#include "common/status_details.h"

namespace penstock::broker {

void EngineSlot::Set(std::shared_ptr<Engine> engine, absl::Status reason) {
  MutexLock lock(mu_);
  engine_ = std::move(engine);
  reason_ = std::move(reason);
}

std::shared_ptr<Engine> EngineSlot::Get() const {
  MutexLock lock(mu_);
  return engine_;
}

void EngineSlot::RefuseEnqueues(absl::Status status) {
  MutexLock lock(mu_);
  enqueues_ = std::move(status);
}

void EngineSlot::RefuseChanges(absl::Status status) {
  MutexLock lock(mu_);
  changes_ = std::move(status);
}

absl::Status EngineSlot::Noted(absl::Status status) {
  if (status.ok()) return status;
  std::string limit = LimitOf(status);
  if (limit.empty()) limit = absl::StatusCodeToString(status.code());
  MutexLock lock(mu_);
  ++rejects_[limit];
  return status;
}

absl::StatusOr<std::shared_ptr<Engine>> EngineSlot::Admit(bool enqueue, bool question) const {
  MutexLock lock(mu_);
  if (!changes_.ok() && !question) return changes_;
  if (!enqueues_.ok() && enqueue) return enqueues_;
  if (engine_ == nullptr) return reason_;
  return engine_;
}

absl::Status EngineSlot::Post(Command&& command, size_t bytes, absl::Duration patience) {
  const auto engine = Admit(std::holds_alternative<EnqueueCommand>(command), IsQuestion(command));
  return Noted(engine.ok() ? (*engine)->Post(std::move(command), bytes, patience) : engine.status());
}

absl::Status EngineSlot::MayEnqueue(size_t bytes, absl::Duration patience) {
  const auto engine = Admit(/*enqueue=*/true, /*question=*/false);
  return Noted(engine.ok() ? (*engine)->MayEnqueue(bytes, patience) : engine.status());
}

void EngineSlot::WhenRoom(std::function<void()> room) {
  if (std::shared_ptr<Engine> engine = Get()) {
    engine->WhenRoom(std::move(room));
  } else {
    room();
  }
}

// Under the lock: once Set has taken the engine out, nobody begins to read what its owner is about to close.
std::unique_ptr<StoreReader> EngineSlot::Snapshot() const {
  MutexLock lock(mu_);
  return engine_ == nullptr ? nullptr : engine_->Snapshot();
}

std::map<std::string, uint64_t> EngineSlot::rejects() const {
  MutexLock lock(mu_);
  return rejects_;
}

}  // namespace penstock::broker
