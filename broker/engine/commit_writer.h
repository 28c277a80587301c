#ifndef PENSTOCK_BROKER_ENGINE_COMMIT_WRITER_H_
#define PENSTOCK_BROKER_ENGINE_COMMIT_WRITER_H_

#include <cstddef>
#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/core/broker_core.h"
#include "broker/engine/door.h"
#include "broker/storage/store.h"
#include "common/clock.h"

namespace penstock::broker {

// The commit thread's work without the thread: what is written, what is synced, and what is released when. Owned by the
// CommitPipeline, whose thread alone calls it; the simulation (tests/simulation) calls it in virtual time.
//
// Invariants: effects are released after their batch is as safe as was promised, in the order of the batches; after a
// failure nothing is written any more.
class CommitWriter {
 public:
  struct Written {
    bool committed = false;  // the batch had writes, and they are in the store
    bool synced = false;
    absl::Duration latency = absl::ZeroDuration();
  };

  // `on_failure` is called once, before anybody is told. `seal_after`: see CommitPipeline.
  CommitWriter(Store& store, EffectReceiver& receiver, Clock& clock, absl::Duration seal_after,
               std::function<void(absl::Status)> on_failure);

  // Commits the batch unless a commit has failed before, tells what it did, then releases its effects, or what became
  // of them.
  void Write(CoreBatch& batch, absl::FunctionRef<void(const Written&)> tell);

  // How long it may rest when nothing is to be written; infinite: for ever. Then Sync.
  absl::Duration UntilSync() const;
  // Syncs what relaxed queues were promised, or, when there is nothing, seals. True: it was done.
  bool Sync();
  // Something was acknowledged without fsync.
  bool unsynced() const { return unsynced_; }

 private:
  absl::Status Commit(const CoreBatch& batch, Written* written);
  absl::Status SyncStore();
  // Nothing is written from now on. `sequence` is the batch's; 0: there was none.
  void Fail(const absl::Status& status, uint64_t sequence);

  Store& store_;
  EffectReceiver& receiver_;
  Clock& clock_;
  const absl::Duration seal_after_;
  const std::function<void(absl::Status)> on_failure_;

  absl::Status failure_;
  // Writes that were acknowledged without fsync, since when.
  bool unsynced_ = false;
  absl::Duration unsynced_since_;
  // Nothing in the log says yet that what was written last is on disk.
  bool unsealed_ = false;
};

// What callers are told when nobody can know whether their command was committed.
absl::Status OutcomeUnknown(const absl::Status& cause);
// Turns the answers of a batch that failed into that.
void FailEffects(const absl::Status& status, Effects* effects);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_ENGINE_COMMIT_WRITER_H_
