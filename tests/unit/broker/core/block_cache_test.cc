#include "broker/core/block_cache.h"

#include <string>

#include "broker/storage/commit_batch.h"
#include "broker/storage/envelope.h"
#include "broker/storage/memory_store.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

class BlockCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<const TaskBlock> Make(uint64_t id, size_t size = 1'000) {
    TaskBlockBuilder builder;
    const uint32_t entry = builder.AddEntry({LaneId(1), QueueId(1), TypeId(1), 5});
    const std::string spec(size, 's');
    NewTask task;
    task.spec = spec;
    builder.Add(entry, task, 0);
    return builder.Finish(BlockId(id), 0);
  }
  void Store(const TaskBlock& block, bool compacted = false) {
    const std::string key = compacted ? keys_.CompactedBlock(block.id()) : keys_.Block(block.id());
    CommitBatch batch;
    batch.Put(compacted ? Family::kTasks : Family::kBlocks, key, SealValue(key, block.body()));
    ASSERT_TRUE(store_.Commit(batch, true).ok());
  }
  MemoryStore store_;
  Keys keys_{0};
  BlockCache cache_{store_, keys_, 2'500};
};

TEST_F(BlockCacheTest, ReadsABlockOnceAndKeepsTheRecent) {
  for (uint64_t id = 1; id <= 3; ++id) Store(*Make(id));
  const auto first = *cache_.Load(BlockId(1), false);
  EXPECT_EQ(*cache_.Load(BlockId(1), false), first);
  (void)cache_.Load(BlockId(2), false);
  (void)cache_.Load(BlockId(1), false);
  (void)cache_.Load(BlockId(3), false);  // evicts 2, not 1
  EXPECT_EQ(*cache_.Load(BlockId(1), false), first);
  EXPECT_TRUE(absl::IsNotFound(cache_.Load(BlockId(4), false).status()));
}

TEST_F(BlockCacheTest, ABlockInFlightIsFoundThoughEvicted) {
  const auto block = Make(1);
  cache_.Insert(block);
  for (uint64_t id = 2; id <= 5; ++id) cache_.Insert(Make(id));
  EXPECT_EQ(*cache_.Load(BlockId(1), false), block) << "in the batch being built";
  cache_.Seal();
  EXPECT_EQ(*cache_.Load(BlockId(1), false), block) << "being synced";
  Store(*block);
  cache_.Committed();
  EXPECT_TRUE(cache_.Load(BlockId(1), false).ok()) << "from the store";
}

TEST_F(BlockCacheTest, ARemovedBlockIsNotReadBackBeforeItsDeletionIsCommitted) {
  Store(*Make(1));
  ASSERT_TRUE(cache_.Load(BlockId(1), false).ok());
  cache_.Remove(BlockId(1));
  EXPECT_TRUE(absl::IsNotFound(cache_.Load(BlockId(1), false).status()));
  cache_.Seal();
  EXPECT_TRUE(absl::IsNotFound(cache_.Load(BlockId(1), false).status()));
}

TEST_F(BlockCacheTest, ABlockMadeAndFinishedInOneFlightIsGone) {
  cache_.Insert(Make(1));
  cache_.Seal();
  cache_.Remove(BlockId(1));
  EXPECT_TRUE(absl::IsNotFound(cache_.Load(BlockId(1), false).status()));
}

TEST_F(BlockCacheTest, TheCompactedBlockTakesTheOldOnesPlace) {
  Store(*Make(1, 2'000));
  ASSERT_TRUE(cache_.Load(BlockId(1), false).ok());
  const auto smaller = Make(1, 10);
  cache_.Erase(BlockId(1));
  cache_.Insert(smaller);
  cache_.Seal();
  for (uint64_t id = 2; id <= 5; ++id) cache_.Insert(Make(id));  // evicts it
  EXPECT_EQ((*cache_.Load(BlockId(1), true))->body(), smaller->body());
  Store(*smaller, true);
  cache_.Committed();
  EXPECT_EQ((*cache_.Load(BlockId(1), true))->body(), smaller->body());
}

TEST_F(BlockCacheTest, OneBlockLargerThanTheCacheIsStillServed) {
  Store(*Make(1, 100'000));
  EXPECT_TRUE(cache_.Load(BlockId(1), false).ok());
  EXPECT_TRUE(cache_.Load(BlockId(1), false).ok());
}

TEST_F(BlockCacheTest, DamageIsDataLoss) {
  const std::string key = keys_.Block(BlockId(1));
  std::string value = SealValue(key, Make(1)->body());
  value[value.size() / 2] ^= 1;
  CommitBatch batch;
  batch.Put(Family::kBlocks, key, value);
  ASSERT_TRUE(store_.Commit(batch, true).ok());
  EXPECT_TRUE(absl::IsDataLoss(cache_.Load(BlockId(1), false).status()));
}

}  // namespace
}  // namespace penstock::broker
