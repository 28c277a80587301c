#ifndef PENSTOCK_BROKER_ENGINE_SLOT_H_
#define PENSTOCK_BROKER_ENGINE_SLOT_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/engine/door.h"
#include "broker/engine/engine.h"
#include "common/mutex.h"

namespace penstock::broker {

// The door that edges see: it stays while engines behind it come and go, and keeps enqueues out while the disk is below
// its watermark. Owned by the server. Any thread.
class EngineSlot : public CommandDoor {
 public:
  // Null: commands are refused with `reason`.
  void Set(std::shared_ptr<Engine> engine, absl::Status reason);
  std::shared_ptr<Engine> Get() const;

  // Enqueues are refused with this status, or taken if it is OK. Everything else goes on.
  void RefuseEnqueues(absl::Status status);
  // From now on every command but questions is refused with this status.
  void RefuseChanges(absl::Status status);

  using CommandDoor::Post;
  absl::Status Post(Command&& command, size_t bytes, absl::Duration patience) override;
  absl::Status MayEnqueue(size_t bytes, absl::Duration patience) override;
  void WhenRoom(std::function<void()> room) override;
  std::unique_ptr<StoreReader> Snapshot() const override;

  // Commands that were refused, by the limit that was reached, or by the status's code.
  std::map<std::string, uint64_t> rejects() const;

 private:
  // Where a command goes, or why it is refused before any engine sees it.
  absl::StatusOr<std::shared_ptr<Engine>> Admit(bool enqueue, bool question) const;
  // Counts it if it is a refusal.
  absl::Status Noted(absl::Status status);

  mutable Mutex mu_;
  std::shared_ptr<Engine> engine_ ABSL_GUARDED_BY(mu_);
  absl::Status reason_ ABSL_GUARDED_BY(mu_) = absl::UnavailableError("the broker is starting");
  absl::Status enqueues_ ABSL_GUARDED_BY(mu_);
  absl::Status changes_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, uint64_t> rejects_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_SLOT_H_
