#include "broker/storage/memory_store.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

absl::Status Put(Store& store, std::string_view key) {
  CommitBatch batch;
  batch.Put(Family::kTasks, key, "value");
  return store.Commit(batch, /*sync=*/true);
}

bool Has(const Store& store, std::string_view key) { return store.Get(Family::kTasks, key).ok(); }

TEST(MemoryStoreTest, FullDiskHeals) {
  MemoryStore store;
  store.FailNextCommits(absl::ResourceExhaustedError("full"));
  EXPECT_TRUE(absl::IsResourceExhausted(Put(store, "a")));
  EXPECT_TRUE(absl::IsResourceExhausted(store.GetHealth().status));
  EXPECT_FALSE(Has(store, "a"));
  store.FailNextCommits(absl::OkStatus());
  EXPECT_TRUE(Put(store, "a").ok());
  EXPECT_TRUE(Has(store, "a"));
}

TEST(MemoryStoreTest, OtherFailureLastsUntilReopened) {
  MemoryStore store;
  ASSERT_TRUE(Put(store, "before").ok());
  store.FailNextCommits(absl::UnavailableError("broken"));
  EXPECT_TRUE(absl::IsUnavailable(Put(store, "a")));
  store.FailNextCommits(absl::OkStatus());
  EXPECT_TRUE(absl::IsUnavailable(Put(store, "b")));

  const std::unique_ptr<MemoryStore> reopened = store.Reopen();
  EXPECT_TRUE(Has(*reopened, "before"));
  EXPECT_FALSE(Has(*reopened, "a"));
  EXPECT_TRUE(Put(*reopened, "c").ok());
  EXPECT_TRUE(absl::IsUnavailable(Put(store, "d")));
}

TEST(MemoryStoreTest, FailedCommitMayHaveBeenApplied) {
  MemoryStore store;
  store.FailNextCommits(absl::UnavailableError("broken"), /*keep_first=*/true);
  EXPECT_TRUE(absl::IsUnavailable(Put(store, "a")));
  EXPECT_TRUE(absl::IsUnavailable(Put(store, "b")));
  EXPECT_TRUE(Has(*store.Reopen(), "a"));
  EXPECT_FALSE(Has(*store.Reopen(), "b"));
}

TEST(MemoryStoreTest, SnapshotOutlivesTheStore) {
  auto store = std::make_unique<MemoryStore>();
  ASSERT_TRUE(Put(*store, "a").ok());
  const std::unique_ptr<StoreReader> snapshot = store->Snapshot();
  store.reset();
  EXPECT_TRUE(snapshot->Get(Family::kTasks, "a").ok());
}

TEST(MemoryStoreTest, BytesAreThoseOfLivingKeys) {
  MemoryStore store;
  ASSERT_TRUE(Put(store, "1").ok());
  ASSERT_TRUE(Put(store, "1").ok());
  ASSERT_TRUE(Put(store, "2").ok());
  EXPECT_EQ(store.GetHealth().data_bytes, 12u);
  CommitBatch batch;
  batch.DeleteRange(Family::kTasks, "1", "3");
  ASSERT_TRUE(store.Commit(batch, /*sync=*/false).ok());
  EXPECT_EQ(store.GetHealth().data_bytes, 0u);
}

TEST(MemoryStoreTest, ThreadsReadWhileOneCommits) {
  MemoryStore store;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!Has(store, "last")) {
        const std::unique_ptr<StoreReader> snapshot = store.Snapshot();
        size_t keys = 0;
        EXPECT_TRUE(
            snapshot->Scan(Family::kTasks, "", "", [&](std::string_view, std::string_view) { return ++keys > 0; })
                .ok());
      }
    });
  }
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(Put(store, std::to_string(i)).ok());
  EXPECT_TRUE(Put(store, "last").ok());
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace penstock::broker
