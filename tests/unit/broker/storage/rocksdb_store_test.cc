// What only the store on disk does: faults of the disk. What it shares with others:
// tests/conformance/store_conformance_test.cc.

#include "broker/storage/rocksdb_store.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "tests/support/power_loss_fs.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

class RocksDbStoreTest : public ::testing::Test {
 protected:
  absl::Status Open() {
    store_.reset();
    RocksDbStoreOptions options;
    options.path = folder_ / "db";
    options.memtable_bytes = size_t{1} << 20;
    options.block_cache_bytes = block_cache_bytes_;
    options.env = env_.get();
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenRocksDbStore(options, &report_);
    if (opened.ok()) store_ = std::move(*opened);
    return opened.status();
  }
  absl::Status Put(std::string_view key, bool sync = true, size_t bytes = 10) {
    CommitBatch batch;
    batch.Put(Family::kTasks, key, std::string(bytes, 'x'));
    return store_->Commit(batch, sync);
  }
  bool Has(std::string_view key) { return store_->Get(Family::kTasks, key).ok(); }

  penstock::testing::TempFolder folder_;
  std::shared_ptr<penstock::testing::PowerLossFs> fs_ = std::make_shared<penstock::testing::PowerLossFs>();
  std::unique_ptr<rocksdb::Env> env_ = penstock::testing::NewPowerLossEnv(fs_);
  OpenReport report_;
  size_t block_cache_bytes_ = size_t{8} << 20;
  std::unique_ptr<Store> store_;
};

TEST_F(RocksDbStoreTest, FailedSyncIsFinalUntilReopened) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("before").ok());
  fs_->FailLogSyncs(true);
  const absl::Status failed = Put("unknown");
  EXPECT_TRUE(absl::IsUnavailable(failed)) << failed;
  EXPECT_THAT(std::string(failed.message()), HasSubstr("must be opened anew"));
  fs_->FailLogSyncs(false);
  EXPECT_TRUE(absl::IsUnavailable(Put("after")));
  EXPECT_TRUE(absl::IsUnavailable(store_->GetHealth().status));

  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(Has("before"));  // "unknown" may be there or not
  EXPECT_FALSE(Has("after"));
  EXPECT_TRUE(Put("after").ok());
}

TEST_F(RocksDbStoreTest, FullDiskIsSaidAndHealsWhenOpenedAnew) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("before").ok());
  fs_->FillDisk(true);
  const absl::Status full = Put("refused");
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_TRUE(absl::IsResourceExhausted(store_->GetHealth().status));
  EXPECT_TRUE(absl::IsResourceExhausted(Put("refused")));
  EXPECT_FALSE(Has("refused"));
  EXPECT_TRUE(Has("before"));

  // Also when there is space again: it takes commits only when it is opened anew.
  fs_->FillDisk(false);
  EXPECT_TRUE(absl::IsResourceExhausted(Put("refused")));
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Put("after" + std::to_string(i), /*sync=*/i % 2 == 0).ok());
  EXPECT_FALSE(Has("refused"));

  const absl::Status reopened = Open();
  ASSERT_TRUE(reopened.ok()) << reopened;
  EXPECT_TRUE(Has("before"));
  EXPECT_TRUE(Has("after9"));
  EXPECT_FALSE(Has("refused"));
}

// RocksDB 7.8 recovers from a full disk by itself without a new log as long as its memtables are empty, and wrote the
// next commit with the same sequence numbers behind the one that had failed: a start then met both.
TEST_F(RocksDbStoreTest, CommitOfWhichTheSyncFoundNoSpaceIsNotWrittenBehind) {
  ASSERT_TRUE(Open().ok());
  fs_->FailLogSyncs(true, rocksdb::IOStatus::NoSpace("the test has filled the disk"));
  EXPECT_TRUE(absl::IsResourceExhausted(Put("unknown")));
  fs_->FailLogSyncs(false);
  EXPECT_TRUE(absl::IsResourceExhausted(Put("refused")));
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("after").ok());
  const absl::Status reopened = Open();
  ASSERT_TRUE(reopened.ok()) << reopened;
  EXPECT_TRUE(Has("after"));
  EXPECT_FALSE(Has("refused"));
}

TEST_F(RocksDbStoreTest, DiskFullInTheMiddleOfWritingOutHeals) {
  ASSERT_TRUE(Open().ok());
  int committed = 0;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(Put(std::to_string(committed++), /*sync=*/false, 20'000).ok());
    fs_->FillDisk(true);
    while (Put("refused", /*sync=*/true, 20'000).ok()) {
    }
    fs_->FillDisk(false);
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(Put("synced").ok());
  }
  const absl::Status reopened = Open();
  ASSERT_TRUE(reopened.ok()) << reopened;
  for (int i = 0; i < committed; ++i) EXPECT_TRUE(Has(std::to_string(i))) << i;
}

// Whoever decides what is committed would take the unreadable for damaged and go on without it, for good.
TEST_F(RocksDbStoreTest, ReadThatTheSystemFailsEndsCommitsUnlessItIsOfASnapshot) {
  block_cache_bytes_ = 0;
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("key", /*sync=*/true, 50'000).ok());
  ASSERT_TRUE(Open().ok());  // writes the log out to a file
  fs_->FailReads(true);
  EXPECT_TRUE(absl::IsUnavailable(store_->Snapshot()->Get(Family::kTasks, "key").status()));
  EXPECT_TRUE(Put("other").ok());
  EXPECT_TRUE(absl::IsUnavailable(store_->Get(Family::kTasks, "key").status()));
  EXPECT_TRUE(absl::IsUnavailable(Put("more")));
  fs_->FailReads(false);
  EXPECT_TRUE(absl::IsUnavailable(Put("more")));
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(Has("key"));
  EXPECT_FALSE(Has("more"));
}

TEST_F(RocksDbStoreTest, DamagedFileIsDataLossWhenRead) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("key", /*sync=*/true, 50'000).ok());
  ASSERT_TRUE(Open().ok());  // writes the log out to a file
  store_.reset();
  int damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "db")) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(10);
    file.put('!');
    ++damaged;
  }
  ASSERT_GT(damaged, 0);
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(absl::IsDataLoss(store_->Get(Family::kTasks, "key").status()));
  EXPECT_TRUE(
      absl::IsDataLoss(store_->Scan(Family::kTasks, "", "", [](std::string_view, std::string_view) { return true; })));
}

TEST_F(RocksDbStoreTest, DatabaseWithoutCurrentIsNotTakenForANewOne) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("key").ok());
  store_.reset();
  std::filesystem::remove(folder_ / "db/CURRENT");
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("CURRENT is missing"));
}

TEST_F(RocksDbStoreTest, DamagedManifestIsDataLoss) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("key").ok());
  store_.reset();
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "db")) {
    if (entry.path().filename().string().rfind("MANIFEST", 0) != 0) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(20);
    file.put('!');
  }
  EXPECT_TRUE(absl::IsDataLoss(Open()));
}

TEST_F(RocksDbStoreTest, ClosingWaitsForSnapshots) {
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Put("key").ok());
  std::unique_ptr<StoreReader> snapshot = store_->Snapshot();
  std::thread reader([held = std::move(snapshot)]() mutable {
    EXPECT_TRUE(held->Get(Family::kTasks, "key").ok());
    held.reset();
  });
  store_.reset();
  reader.join();
}

}  // namespace
}  // namespace penstock::broker
