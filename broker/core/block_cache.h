#ifndef PENSTOCK_BROKER_CORE_BLOCK_CACHE_H_
#define PENSTOCK_BROKER_CORE_BLOCK_CACHE_H_

#include <deque>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "broker/core/core_types.h"
#include "broker/storage/keys.h"
#include "broker/storage/store.h"
#include "broker/storage/task_block.h"

namespace penstock::broker {

// Blocks in memory: the least recently used go when there are more than `capacity` bytes, but never one that is not in
// the store yet. Engine's thread only.
class BlockCache {
 public:
  BlockCache(const StoreReader& store, const Keys& keys, size_t capacity)
      : store_(store), keys_(keys), capacity_(capacity) {}

  // NotFound: the block's last task is finished. DataLoss: it cannot be read.
  absl::StatusOr<std::shared_ptr<const TaskBlock>> Load(BlockId id, bool compacted);
  // A block of the batch being built.
  void Insert(std::shared_ptr<const TaskBlock> block);
  // The block was replaced by a compacted one.
  void Erase(BlockId id);
  // The block leaves the store with this batch: from now on it is NotFound, though the store still has it for a moment.
  void Remove(BlockId id);

  // As CommitBuilder::Seal and Committed: blocks are pinned while their batch is in flight.
  void Seal() { in_flight_.push_back(std::exchange(unsealed_, {})); }
  void Committed() { in_flight_.pop_front(); }

 private:
  using Recent = std::list<std::shared_ptr<const TaskBlock>>;
  void Add(std::shared_ptr<const TaskBlock> block);

  const StoreReader& store_;
  const Keys& keys_;
  const size_t capacity_;
  size_t bytes_ = 0;
  Recent recent_;  // the most recently used first
  absl::flat_hash_map<BlockId, Recent::iterator> index_;
  struct Batch {
    std::vector<std::shared_ptr<const TaskBlock>> added;
    absl::flat_hash_set<BlockId> removed;
  };
  Batch unsealed_;
  std::deque<Batch> in_flight_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_BLOCK_CACHE_H_
