#include "broker/core/block_cache.h"

#include "broker/storage/envelope.h"
#include "common/status.h"

namespace penstock::broker {

absl::StatusOr<std::shared_ptr<const TaskBlock>> BlockCache::Load(BlockId id, bool compacted) {
  if (auto found = index_.find(id); found != index_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return recent_.front();
  }
  if (unsealed_.removed.contains(id)) return absl::NotFoundError("the block's last task is finished");
  for (const Batch& batch : in_flight_) {
    if (batch.removed.contains(id)) return absl::NotFoundError("the block's last task is finished");
  }
  // Evicted before its batch was in the store? The newest wins: a block may have been compacted.
  auto find = [&](const Batch& batch) -> std::shared_ptr<const TaskBlock> {
    for (auto block = batch.added.rbegin(); block != batch.added.rend(); ++block) {
      if ((*block)->id() == id) return *block;
    }
    return nullptr;
  };
  if (auto block = find(unsealed_)) return block;
  for (auto batch = in_flight_.rbegin(); batch != in_flight_.rend(); ++batch) {
    if (auto block = find(*batch)) return block;
  }
  const std::string key = compacted ? keys_.CompactedBlock(id) : keys_.Block(id);
  ASSIGN_OR_RETURN(std::string value, store_.Get(compacted ? Family::kTasks : Family::kBlocks, key));
  ASSIGN_OR_RETURN(std::string_view body, OpenValue(key, value));
  ASSIGN_OR_RETURN(std::shared_ptr<const TaskBlock> block, TaskBlock::Parse(std::string(body)));
  Add(block);
  return block;
}

void BlockCache::Insert(std::shared_ptr<const TaskBlock> block) {
  unsealed_.added.push_back(block);
  Add(std::move(block));
}

void BlockCache::Add(std::shared_ptr<const TaskBlock> block) {
  bytes_ += block->body().size();
  const BlockId id = block->id();
  recent_.push_front(std::move(block));
  index_[id] = recent_.begin();
  while (bytes_ > capacity_ && recent_.size() > 1) {
    bytes_ -= recent_.back()->body().size();
    index_.erase(recent_.back()->id());
    recent_.pop_back();
  }
}

void BlockCache::Remove(BlockId id) {
  unsealed_.removed.insert(id);
  Erase(id);
}

void BlockCache::Erase(BlockId id) {
  auto found = index_.find(id);
  if (found == index_.end()) return;
  bytes_ -= (*found->second)->body().size();
  recent_.erase(found->second);
  index_.erase(found);
}

}  // namespace penstock::broker
