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

absl::Status EngineSlot::Reject(absl::Status status) {
  std::string limit = LimitOf(status);
  if (limit.empty()) limit = absl::StatusCodeToString(status.code());
  MutexLock lock(mu_);
  ++rejects_[limit];
  return status;
}

absl::Status EngineSlot::Post(Command&& command, size_t bytes) {
  std::shared_ptr<Engine> engine;
  absl::Status refused;
  {
    MutexLock lock(mu_);
    if (!changes_.ok() && !IsQuestion(command)) {
      refused = changes_;
    } else if (!enqueues_.ok() && std::holds_alternative<EnqueueCommand>(command)) {
      refused = enqueues_;
    } else if (engine_ == nullptr) {
      refused = reason_;
    } else {
      engine = engine_;
    }
  }
  if (!refused.ok()) return Reject(std::move(refused));
  absl::Status status = engine->Post(std::move(command), bytes);
  return status.ok() ? status : Reject(std::move(status));
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
