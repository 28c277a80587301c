#ifndef PENSTOCK_BROKER_CORE_CHECKPOINT_H_
#define PENSTOCK_BROKER_CORE_CHECKPOINT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "broker/core/core_context.h"

namespace penstock::broker {

// How a core comes back: the last checkpoint, which stands in the store in chunks, and the deltas of the commits after
// it. A checkpoint is written when the deltas since the last have outgrown it, so its cost stays a small part of
// theirs.
class Checkpointer {
 public:
  explicit Checkpointer(CoreContext& context) : context_(context) {}

  // Rebuilds the state from the store, up to commit `applied`.
  absl::Status Recover(const StoreReader& store, uint64_t applied);

  // Ends a batch that changed something: stores its delta, or a checkpoint in its place.
  void Store();
  // The next batch carries a checkpoint.
  void Demand() { demanded_ = true; }

 private:
  absl::Status LoadCheckpoint(const StoreReader& store);
  void StoreCheckpoint();

  CoreContext& context_;
  bool demanded_ = false;
  uint64_t sequence_ = 0;  // of the last checkpoint; 0: none
  uint32_t chunks_ = 0;
  size_t checkpoint_bytes_ = 0;
  size_t delta_bytes_ = 0;  // since then
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_CHECKPOINT_H_
