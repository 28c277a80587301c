// Checking and salvaging databases that were damaged on purpose.

#include "broker/storage/salvage.h"

#include <filesystem>
#include <map>
#include <random>

#include "broker/storage/memory_store.h"
#include "broker/storage/read_only_store.h"
#include "broker/storage/rocksdb_store.h"
#include "broker/storage/storage_check.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/chained_commits.h"
#include "tests/support/file_damage.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using penstock::testing::FilesIn;
using penstock::testing::Fingerprint;
using penstock::testing::FlipBit;
using penstock::testing::ReadFile;
using penstock::testing::TempFolder;
using penstock::testing::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Content = std::map<std::pair<int, std::string>, std::string>;

// A database with table files of many blocks, and a log.
class SalvageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Open();
    for (uint64_t i = 1; i <= 300; ++i) Put(Family::kBlocks, i);
    for (uint64_t i = 1; i <= 300; ++i) Put(Family::kTasks, i, "R");
    Close();
    Open();  // writes what it found in the log to table files
    for (uint64_t i = 301; i <= 320; ++i) Put(Family::kBlocks, i, "", /*sync=*/true);
    Close();
  }

  void Open() {
    RocksDbStoreOptions options;
    options.path = db();
    auto store = OpenRocksDbStore(options, nullptr);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Close() {
    if (store_ != nullptr) content_ = Read(*store_);
    store_.reset();
  }
  void Put(Family family, uint64_t number, const std::string& more = "", bool sync = false) {
    chain_.Put(*store_, family, NumberKey(number) + more,
               fmt::format("value {} ", number) + std::string(900, static_cast<char>('a' + number % 26)), sync);
  }
  static Content Read(const StoreReader& store) {
    Content content;
    for (int family = 0; family < kFamilyCount; ++family) {
      EXPECT_TRUE(store
                      .Scan(static_cast<Family>(family), "", "",
                            [&](std::string_view key, std::string_view value) {
                              content[{family, std::string(key)}] = std::string(value);
                              return true;
                            })
                      .ok());
    }
    return content;
  }
  std::string db() const { return folder_ / "db"; }
  std::string LargestTable() const {
    std::string largest;
    for (const std::string& file : FilesIn(db(), ".sst")) {
      if (largest.empty() || std::filesystem::file_size(file) > std::filesystem::file_size(largest)) largest = file;
    }
    return largest;
  }
  std::string Log() const { return FilesIn(db(), ".log").back(); }
  Content Salvaged(SalvageReport* report) {
    std::filesystem::create_directories(folder_ / "scratch");
    MemoryStore to;
    auto salvaged = SalvageDb(db(), folder_ / "scratch", &to);
    EXPECT_TRUE(salvaged.ok()) << salvaged.status();
    if (salvaged.ok()) *report = *salvaged;
    std::filesystem::remove_all(folder_ / "scratch");
    return Read(to);
  }

  TempFolder folder_;
  ChainedCommits chain_;
  std::unique_ptr<Store> store_;
  Content content_;
};

TEST_F(SalvageTest, WholeDatabaseIsWholeAndIsNotTouched) {
  const auto before = Fingerprint(db());
  const auto check = CheckStorage(db());
  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_THAT(check->damage, IsEmpty());
  EXPECT_EQ(check->log, StorageCheck::Log::kWhole);
  EXPECT_EQ(check->values[static_cast<size_t>(Family::kBlocks)], 320u);
  EXPECT_EQ(check->commits_logged, 20u);
  EXPECT_EQ(check->commits_chained, 20u);
  EXPECT_GT(check->files, 1u);
  SalvageReport report;
  EXPECT_EQ(Salvaged(&report), content_);
  EXPECT_THAT(report.damage, IsEmpty());
  EXPECT_EQ(report.log_commits, 20u);
  const auto store = OpenReadOnlyStore(db(), false, nullptr);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(Read(**store), content_);
  EXPECT_EQ((*store)->Commit(CommitBatch(), true).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Fingerprint(db()), before);
}

TEST_F(SalvageTest, FlippedBitInATableFileIsNamedWithItsTask) {
  const std::string table = LargestTable();
  const size_t place = ReadFile(table).find("value 150 ");
  ASSERT_NE(place, std::string::npos);
  FlipBit(table, place + 100);
  const auto check = CheckStorage(db());
  ASSERT_TRUE(check.ok()) << check.status();
  std::string files, tasks;
  for (const StorageDamage& damage : check->damage) {
    files += damage.file + " ";
    if (!damage.task.empty()) tasks += damage.task.ToString();
  }
  EXPECT_THAT(files, HasSubstr(std::filesystem::path(table).filename().string()));
  // It may stand in the file of either family.
  EXPECT_TRUE(tasks == TaskId(0, 150, 0).ToString() || tasks == TaskId(150).ToString()) << tasks;
  SalvageReport report;
  Content salvaged = Salvaged(&report);
  // All but the one value, although its whole block has the wrong checksum.
  EXPECT_EQ(salvaged.size(), content_.size() - 1);
  for (const auto& [key, value] : salvaged) EXPECT_EQ(content_[key], value);
  ASSERT_EQ(report.damage.size(), 1u);
}

TEST_F(SalvageTest, BlockThatCannotBeTakenApartHidesNothingBehindIt) {
  // Its beginning, with the first entry's lengths, is wrong: RocksDB cannot read the block even without checksums.
  const std::string table = LargestTable();
  std::string content = ReadFile(table);
  const size_t place = content.find("value 100 ");
  ASSERT_NE(place, std::string::npos);
  content.replace(place - 40, 4'000, std::string(4'000, '\xff'));
  WriteFile(table, content);
  SalvageReport report;
  Content salvaged = Salvaged(&report);
  EXPECT_THAT(report.damage, ::testing::Not(IsEmpty()));
  // At most the blocks that those bytes touch: 32 KiB of some 1 KiB each.
  EXPECT_GT(salvaged.size() + 80, content_.size());
  EXPECT_LT(salvaged.size(), content_.size());
  for (const auto& [key, value] : salvaged) EXPECT_EQ(content_[key], value);
}

TEST_F(SalvageTest, ValueUnderAnotherKeyIsDamage) {
  Open();
  CommitBatch batch;
  batch.Put(Family::kTasks, NumberKey(7) + "R", SealValue(NumberKey(8) + "R", "not mine"));
  ASSERT_TRUE(store_->Commit(batch, true).ok());
  store_.reset();
  const auto check = CheckStorage(db());
  ASSERT_TRUE(check.ok()) << check.status();
  ASSERT_EQ(check->damage.size(), 1u);
  EXPECT_EQ(check->damage[0].task, TaskId(7));
}

TEST_F(SalvageTest, TornTailIsNoDamage) {
  std::filesystem::resize_file(Log(), std::filesystem::file_size(Log()) - 5);
  const auto before = Fingerprint(db());
  const auto check = CheckStorage(db());
  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_EQ(check->log, StorageCheck::Log::kTorn);
  EXPECT_GT(check->open.dropped_bytes, 0u);
  EXPECT_THAT(check->damage, IsEmpty());
  EXPECT_TRUE(OpenReadOnlyStore(db(), false, nullptr).ok());
  EXPECT_EQ(Fingerprint(db()), before);
}

TEST_F(SalvageTest, RotInTheLogCostsOneValueNotWhatIsBehind) {
  const size_t place = ReadFile(Log()).find("value 310 ");
  ASSERT_NE(place, std::string::npos);
  FlipBit(Log(), place + 50);
  const auto check = CheckStorage(db());
  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_EQ(check->log, StorageCheck::Log::kRotten);
  EXPECT_EQ(OpenReadOnlyStore(db(), false, nullptr).status().code(), absl::StatusCode::kDataLoss);
  SalvageReport report;
  Content salvaged = Salvaged(&report);
  Content expected = content_;
  expected.erase({static_cast<int>(Family::kBlocks), NumberKey(310)});
  EXPECT_EQ(salvaged, expected);
  EXPECT_THAT(report.log_gaps, IsEmpty());
  EXPECT_GT(report.log_commits_behind, 0u);
  EXPECT_THAT(report.log_damage, HasSubstr(".log, byte"));
  ASSERT_EQ(report.damage.size(), 1u);
  EXPECT_EQ(report.damage[0].task, TaskId(0, 310, 0));
}

TEST_F(SalvageTest, CommitsThatTheLogLostAreCounted) {
  std::string log = ReadFile(Log());
  const size_t begin = log.find("value 305 ") - 100;
  const size_t end = log.find("value 307 ");
  log.replace(begin, end - begin, std::string(end - begin, '\0'));
  WriteFile(Log(), log);
  SalvageReport report;
  Content salvaged = Salvaged(&report);
  const uint64_t first = chain_.applied().sequence - 20;  // before the log's
  ASSERT_EQ(report.log_gaps.size(), 1u);
  EXPECT_LE(report.log_gaps[0].first, first + 5);
  EXPECT_GE(report.log_gaps[0].second, first + 6);
  EXPECT_TRUE(salvaged.contains({static_cast<int>(Family::kBlocks), NumberKey(320)}));
  EXPECT_FALSE(salvaged.contains({static_cast<int>(Family::kBlocks), NumberKey(306)}));
}

TEST_F(SalvageTest, DatabaseWithoutItsListOfFilesIsReadAllTheSame) {
  for (const std::string& file : FilesIn(db(), "")) {
    if (file.find("MANIFEST") != std::string::npos) WriteFile(file, "nonsense");
  }
  EXPECT_FALSE(CheckStorage(db()).ok());
  const auto before = Fingerprint(db());
  SalvageReport report;
  EXPECT_EQ(Salvaged(&report), content_);
  EXPECT_TRUE(report.manifest_rebuilt);
  EXPECT_EQ(Fingerprint(db()), before);
}

TEST_F(SalvageTest, TableFileWithABrokenFooterCostsThatFileOnly) {
  std::map<std::string, std::string> tables;
  for (const std::string& file : FilesIn(db(), ".sst")) tables[file] = ReadFile(file);
  // Of the tasks' file nothing can be found without its footer.
  for (const auto& [file, content] : tables) {
    if (content.find("value 1 ") == std::string::npos || file == LargestTable()) continue;
    WriteFile(file, content.substr(0, content.size() - 60) + std::string(60, '\0'));
    break;
  }
  SalvageReport report;
  Content salvaged = Salvaged(&report);
  EXPECT_TRUE(report.manifest_rebuilt);
  for (const auto& [key, value] : salvaged) EXPECT_EQ(content_[key], value);
  EXPECT_TRUE(salvaged.contains({static_cast<int>(Family::kBlocks), NumberKey(320)}));
}

// Never a wrong value, whatever bit of whatever file is wrong; and the check notices all that a reader could meet.
TEST_F(SalvageTest, NoFlippedBitGivesAWrongValue) {
  std::mt19937 random(4711);
  const auto files = FilesIn(db(), "");
  for (int i = 0; i < 120; ++i) {
    const std::string& file = files[random() % files.size()];
    const std::string content = ReadFile(file);
    if (content.empty()) continue;
    const size_t offset = random() % content.size();
    SCOPED_TRACE(fmt::format("{} byte {}", file, offset));
    FlipBit(file, offset, static_cast<int>(random() % 8));
    MemoryStore to;
    std::filesystem::create_directories(folder_ / "scratch");
    const auto report = SalvageDb(db(), folder_ / "scratch", &to);
    std::filesystem::remove_all(folder_ / "scratch");
    if (report.ok()) {
      const Content salvaged = Read(to);
      // `applied` and the like have older versions, which damage to newer ones may lay open: they are right, if old.
      for (const auto& [key, value] : salvaged) {
        if (key.first == static_cast<int>(Family::kMeta)) continue;
        EXPECT_EQ(content_[key], value);
      }
      if (salvaged != content_) {
        const auto check = CheckStorage(db());
        EXPECT_TRUE(!check.ok() || !check->damage.empty() || check->log == StorageCheck::Log::kTorn);
      }
    }
    WriteFile(file, content);
  }
}

}  // namespace
}  // namespace penstock::broker
