#include "broker/storage/scrub.h"

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/storage/memory_store.h"
#include "broker/storage/rocksdb_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "tests/support/file_damage.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using penstock::testing::FilesIn;
using penstock::testing::FlipBit;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class ScrubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    RocksDbStoreOptions options;
    options.path = folder_ / "db";
    options.memtable_bytes = size_t{1} << 20;
    options.block_cache_bytes = size_t{8} << 20;
    store_ = OpenRocksDbStore(options, nullptr).value();
    // The record of the meta family goes into a table file, that of the tasks is in a log which is complete now.
    Put(Family::kMeta, "meta", 100'000);
    Put(Family::kTasks, "task", 50'000);
    ASSERT_TRUE(db().Flush(rocksdb::FlushOptions(), db().DefaultColumnFamily()).ok());
    Put(Family::kTasks, "later", 10);
  }
  void Put(Family family, const std::string& key, size_t bytes) {
    CommitBatch batch;
    batch.Put(family, key, std::string(bytes, 'x'));
    ASSERT_TRUE(store_->Commit(batch, /*sync=*/true).ok());
  }
  rocksdb::DB& db() { return *DatabaseOf(*store_); }
  ScrubResult Scrub() {
    ScrubPace pace(0);
    return ScrubStore(*store_, pace).value();
  }
  std::vector<std::string> Files(const std::string& ending) { return FilesIn(folder_ / "db", ending); }

  penstock::testing::TempFolder folder_;
  std::unique_ptr<Store> store_;
};

TEST_F(ScrubTest, WholeFilesAreReadToTheirEnd) {
  const ScrubResult result = Scrub();
  EXPECT_THAT(result.damage, IsEmpty());
  EXPECT_EQ(result.files, 3u);  // table, log, MANIFEST
  EXPECT_GE(result.bytes, 150'000u);
}

TEST_F(ScrubTest, RottenTableFileIsNamed) {
  const std::vector<std::string> tables = Files(".sst");
  ASSERT_EQ(tables.size(), 1u);
  FlipBit(tables[0], 50'000);
  const std::string name = std::filesystem::path(tables[0]).filename().string();
  EXPECT_THAT(Scrub().damage, ElementsAre(AllOf(StartsWith(name), HasSubstr("damaged"), HasSubstr("default"))));
}

TEST_F(ScrubTest, MissingTableFileIsNamed) {
  const std::vector<std::string> tables = Files(".sst");
  ASSERT_EQ(tables.size(), 1u);
  std::filesystem::remove(tables[0]);
  const std::string name = std::filesystem::path(tables[0]).filename().string();
  EXPECT_THAT(Scrub().damage, ElementsAre(StartsWith(name)));
}

TEST_F(ScrubTest, RottenLogThatIsCompleteIsNamed) {
  const std::vector<std::string> logs = Files(".log");
  ASSERT_EQ(logs.size(), 2u);
  FlipBit(logs[0], 120'000);
  const std::string name = std::filesystem::path(logs[0]).filename().string();
  EXPECT_THAT(Scrub().damage, ElementsAre(AllOf(StartsWith(name), HasSubstr("write-ahead log is damaged"))));
}

TEST_F(ScrubTest, RottenManifestIsNamed) {
  std::string manifest;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "db")) {
    if (entry.path().filename().string().starts_with("MANIFEST")) manifest = entry.path().string();
  }
  FlipBit(manifest, 20);
  EXPECT_THAT(Scrub().damage, ElementsAre(AllOf(StartsWith("MANIFEST"), HasSubstr("damaged at byte"))));
}

TEST_F(ScrubTest, StopEndsAScrubThatWaitsForItsTurn) {
  ScrubPace pace(1);  // a byte a second: it would take days
  std::thread stopper([&] { pace.Stop(); });
  EXPECT_TRUE(absl::IsCancelled(ScrubStore(*store_, pace).status()));
  stopper.join();
}

TEST(ScrubMemoryTest, StoreInMemoryHasNoFiles) {
  MemoryStore store;
  ScrubPace pace(0);
  EXPECT_TRUE(absl::IsFailedPrecondition(ScrubStore(store, pace).status()));
}

}  // namespace
}  // namespace penstock::broker
