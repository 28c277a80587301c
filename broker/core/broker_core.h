#ifndef PENSTOCK_BROKER_CORE_BROKER_CORE_H_
#define PENSTOCK_BROKER_CORE_BROKER_CORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "broker/core/command.h"
#include "broker/core/core_types.h"
#include "broker/core/effects.h"
#include "broker/core/options.h"
#include "broker/storage/commit_batch.h"
#include "broker/storage/store.h"

namespace penstock::broker {

// What one step of the core asks for: commit `writes`, then release `effects`.
struct CoreBatch {
  uint64_t sequence = 0;  // of the commit; 0: nothing is to be written
  CommitBatch writes;
  Effects effects;
};

// One partition's state machine: commands and time go in, writes and effects come out. Deterministic: no clock, thread,
// file, socket, log line or random number inside, so the same commands at the same times give the same batches. It
// reads through the store it was recovered from, with its own batches in flight on top. One thread.
class BrokerCore {
 public:
  // Rebuilds the core from the store: checkpoint, then the deltas after it. DataLoss: the store contradicts itself.
  static absl::StatusOr<std::unique_ptr<BrokerCore>> Recover(const CoreOptions& options, const StoreReader& store,
                                                             CoreNow now);
  ~BrokerCore();

  // Applies commands, then does what is due, then deals out tasks. `now.wall` behind the partition's time is
  // taken for that: time does not go back.
  CoreBatch Step(absl::Span<Command> commands, CoreNow now);

  // The oldest batch with a sequence that was not reported yet is in the store. In the order of the batches.
  void Committed();

  // When Step next has work without commands: wall and elapsed time, kNever for none. Both 0: at once.
  CoreNow next_deadline() const;

  // Hands out no more tasks, for a shutdown.
  void StopDispatch();

  uint64_t epoch() const;
  // Everything that a recovery restores, as text: see debug_state.h.
  std::string DebugState() const;

 private:
  struct Parts;
  explicit BrokerCore(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_BROKER_CORE_H_
