#include "broker/core/block_cache.h"

#include "broker/storage/envelope.h"
#include "common/status.h"

namespace penstock::broker {

absl::StatusOr<std::shared_ptr<const TaskBlock>> BlockCache::Load(BlockId id, bool compacted) {
  if (auto found = index_.find(id); found != index_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return recent_.front();
  }
  // Evicted before its batch was in the store.
  for (const auto& batch : in_flight_) {
    for (const auto& block : batch) {
      if (block->id() == id) return block;
    }
  }
  for (const auto& block : unsealed_) {
    if (block->id() == id) return block;
  }
  const std::string key = compacted ? keys_.CompactedBlock(id) : keys_.Block(id);
  ASSIGN_OR_RETURN(std::string value, store_.Get(compacted ? Family::kTasks : Family::kBlocks, key));
  ASSIGN_OR_RETURN(std::string_view body, OpenValue(key, value));
  ASSIGN_OR_RETURN(std::shared_ptr<const TaskBlock> block, TaskBlock::Parse(std::string(body)));
  Add(block);
  return block;
}

void BlockCache::Insert(std::shared_ptr<const TaskBlock> block) {
  unsealed_.push_back(block);
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

void BlockCache::Erase(BlockId id) {
  auto found = index_.find(id);
  if (found == index_.end()) return;
  bytes_ -= (*found->second)->body().size();
  recent_.erase(found->second);
  index_.erase(found);
}

}  // namespace penstock::broker
