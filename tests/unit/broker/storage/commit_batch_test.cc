#include "broker/storage/commit_batch.h"

#include <string>

#include "fmt/format.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

std::string Render(const CommitBatch& batch) {
  std::string text;
  const absl::Status status = batch.ForEach([&](const CommitBatch::Operation& operation) {
    text += fmt::format("{} {} {} [{}]\n", static_cast<int>(operation.kind), static_cast<int>(operation.family),
                        operation.key, operation.value);
  });
  return status.ok() ? text : status.ToString();
}

TEST(CommitBatchTest, OperationsAreVisitedInOrder) {
  CommitBatch batch;
  EXPECT_TRUE(batch.empty());
  batch.Put(Family::kBlocks, "block", "value");
  batch.Put(Family::kMeta, "", "");
  batch.Delete(Family::kTasks, "task");
  batch.SingleDelete(Family::kBlocks, "old");
  batch.DeleteRange(Family::kDeltas, "a", "b");
  EXPECT_FALSE(batch.empty());
  EXPECT_EQ(Render(batch),
            "1 1 block [value]\n"
            "1 0  []\n"
            "2 3 task []\n"
            "3 1 old []\n"
            "4 2 a [b]\n");
}

// A replicated log depends on it.
TEST(CommitBatchTest, EncodingIsFixed) {
  CommitBatch batch;
  batch.Put(Family::kTasks, "k", "value");
  batch.Delete(Family::kIndex, "k");
  EXPECT_EQ(batch.operations(), "\x01\x03\x01k\x05value\x02\x04\x01k");
  EXPECT_EQ(batch.bytes(), batch.operations().size());
}

TEST(CommitBatchTest, ClearedBatchIsEmpty) {
  CommitBatch batch;
  batch.Put(Family::kTasks, "k", "v");
  batch.Clear();
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(Render(batch), "");
}

}  // namespace
}  // namespace penstock::broker
