// Power cuts and bit rot, with the real store over a file system that forgets what was not synced.

#include "broker/storage/wal_recovery.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "broker/storage/applied.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rocksdb/env.h"
#include "tests/support/power_loss_fs.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Below(uint64_t limit) { return std::uniform_int_distribution<uint64_t>(0, limit - 1)(engine_); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  std::mt19937_64 engine_;
};

// Commit n puts block n, finishes block n - 5 (and removes it), and rewrites one of ten task records: what must be
// stored after it is known from n alone.
class History {
 public:
  explicit History(uint64_t seed) : seed_(seed) {}

  std::string Value(uint64_t n) const {
    Random random(seed_ * 1'000'003 + n);
    const uint64_t size = random.OneIn(10) ? random.Below(100'000) : random.Below(3'000);
    // Not all alike, and not compressible by much.
    std::string value = fmt::format("{}:", n);
    while (value.size() < size) value.push_back(static_cast<char>(random.Below(256)));
    return value;
  }
  CommitBatch Commit(uint64_t n) const {
    CommitBatch batch;
    batch.Put(Family::kBlocks, BlockKey(n), Value(n));
    if (n > 5) batch.SingleDelete(Family::kBlocks, BlockKey(n - 5));
    batch.Put(Family::kTasks, std::to_string(n % 10), std::to_string(n));
    const std::string key = AppliedKey(0);
    batch.Put(Family::kMeta, key, EncodeApplied(key, {.sequence = n}));
    return batch;
  }
  static uint64_t LastCommit(const Store& store) {
    const std::string key = AppliedKey(0);
    const absl::StatusOr<std::string> value = store.Get(Family::kMeta, key);
    if (!value.ok()) return 0;
    const absl::StatusOr<Applied> applied = DecodeApplied(key, *value);
    return applied.ok() ? applied->sequence : 0;
  }
  // What is wrong with a store that says it is at commit n; empty if nothing.
  std::string Difference(const Store& store, uint64_t n) const {
    std::map<std::string, std::string> blocks;
    for (uint64_t i = n > 5 ? n - 4 : 1; i <= n; ++i) blocks[BlockKey(i)] = Value(i);
    std::map<std::string, std::string> tasks;
    for (uint64_t i = n > 10 ? n - 9 : 1; i <= n; ++i) tasks[std::to_string(i % 10)] = std::to_string(i);
    if (Read(store, Family::kBlocks) != blocks) return fmt::format("other blocks than after commit {}", n);
    if (Read(store, Family::kTasks) != tasks) return fmt::format("other tasks than after commit {}", n);
    return "";
  }

 private:
  static std::string BlockKey(uint64_t n) { return fmt::format("{:08}", n); }
  static std::map<std::string, std::string> Read(const Store& store, Family family) {
    std::map<std::string, std::string> all;
    const absl::Status status = store.Scan(
        family, "", "", [&](std::string_view key, std::string_view value) { return all.emplace(key, value).second; });
    if (!status.ok()) all["error"] = status.ToString();
    return all;
  }

  const uint64_t seed_;
};

class PowerLossRun {
 public:
  explicit PowerLossRun(uint64_t seed) : seed_(seed), random_(seed), history_(seed) {}

  struct Result {
    int cuts = 0;
    int tails_cut = 0;
    std::string failure;  // the first
  };

  // With `lie` no commit is synced, and the check does not know.
  Result Run(int cuts, bool lie = false) {
    Result result;
    for (int cut = 0; cut < cuts && result.failure.empty(); ++cut) {
      result.failure = Round(cut, lie, &result);
      ++result.cuts;
    }
    if (!result.failure.empty()) result.failure = fmt::format("seed {}: {}", seed_, result.failure);
    return result;
  }

 private:
  absl::StatusOr<std::unique_ptr<Store>> Open() {
    RocksDbStoreOptions options;
    options.path = folder_ / "db";
    // Often written out, so that logs are switched and become obsolete.
    options.memtable_bytes = size_t{1} << 20;
    options.env = env_.get();
    return OpenRocksDbStore(options, &report_);
  }

  std::string Round(int cut, bool lie, Result* result) {
    // Some cuts hit the opening itself.
    if (random_.OneIn(6)) fs_->CutPowerAfter(random_.Below(3'000));
    absl::StatusOr<std::unique_ptr<Store>> store = Open();
    if (store.ok()) {
      if (report_.step == 3) ++result->tails_cut;
      const uint64_t found = History::LastCommit(**store);
      if (found < synced_)
        return fmt::format("cut {}: commit {} was synced, {} is the last found", cut, synced_, found);
      if (found > written_) return fmt::format("cut {}: commit {} was never made", cut, found);
      const std::string difference = history_.Difference(**store, found);
      if (!difference.empty()) return fmt::format("cut {}: {}", cut, difference);
      written_ = synced_ = found;  // What is found after a start is on disk.
      // Long lives switch and outlive logs; short ones die in the first pages of one.
      fs_->CutPowerAfter(random_.Below(random_.OneIn(3) ? 60'000 : 2'000'000));
      const uint64_t sync_one_in = std::vector<uint64_t>{1, 2, 4, 100}[random_.Below(4)];
      while (!fs_->power_is_off()) {
        const bool sync = random_.OneIn(sync_one_in);
        ++written_;
        const absl::Status committed = (*store)->Commit(history_.Commit(written_), sync && !lie);
        if (committed.ok() && sync) synced_ = written_;
        if (!committed.ok()) break;
      }
      store->reset();
    } else if (!fs_->power_is_off()) {
      return fmt::format("cut {}: refused: {}", cut, store.status().ToString());
    }
    fs_->LoseUnsynced(random_.Below(UINT64_MAX));
    return "";
  }

  const uint64_t seed_;
  Random random_;
  const History history_;
  penstock::testing::TempFolder folder_;
  const std::shared_ptr<penstock::testing::PowerLossFs> fs_ = std::make_shared<penstock::testing::PowerLossFs>();
  const std::unique_ptr<rocksdb::Env> env_ = penstock::testing::NewPowerLossEnv(fs_);
  OpenReport report_;
  uint64_t written_ = 0;
  uint64_t synced_ = 0;
};

// PENSTOCK_POWER_CUTS sets the number of seeds, for longer runs by hand.
int Seeds() {
  const char* wanted = getenv("PENSTOCK_POWER_CUTS");
  return wanted == nullptr ? 20 : atoi(wanted);
}

TEST(PowerLossTest, EverySyncedCommitSurvivesAndNoStartIsRefused) {
  int cuts = 0;
  int tails_cut = 0;
  for (int seed = 1; seed <= Seeds(); ++seed) {
    PowerLossRun run(static_cast<uint64_t>(seed));
    const PowerLossRun::Result result = run.Run(/*cuts=*/5);
    EXPECT_EQ(result.failure, "");
    cuts += result.cuts;
    tails_cut += result.tails_cut;
  }
  RecordProperty("cuts", cuts);
  // The harness does meet what it is made for.
  EXPECT_GT(tails_cut, cuts / 10);
}

// The harness can fail: a broker that does not sync is found out.
TEST(PowerLossTest, CommitsThatOnlyPretendToBeSyncedAreLost) {
  int found_out = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    PowerLossRun run(seed);
    const std::string failure = run.Run(/*cuts=*/8, /*lie=*/true).failure;
    if (failure.find("was synced") != std::string::npos) ++found_out;
  }
  EXPECT_GT(found_out, 2);
}

class WalRotTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Open().ok());
    for (uint64_t n = 1; n <= kCommits; ++n) {
      ASSERT_TRUE(store_->Commit(history_.Commit(n), /*sync=*/true).ok());
    }
    store_.reset();
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "db")) {
      if (entry.path().extension() == ".log") log_ = entry.path();
    }
    std::ostringstream content;
    content << std::ifstream(log_, std::ios::binary).rdbuf();
    content_ = content.str();
    std::filesystem::copy(folder_ / "db", folder_ / "saved");
  }
  absl::Status Open() {
    RocksDbStoreOptions options;
    options.path = folder_ / "db";
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenRocksDbStore(options, &report_);
    if (opened.ok()) store_ = std::move(*opened);
    return opened.status();
  }
  absl::Status OpenWithLog(const std::string& content) {
    store_.reset();
    std::filesystem::remove_all(folder_ / "db");
    std::filesystem::copy(folder_ / "saved", folder_ / "db");
    std::ofstream(log_, std::ios::binary | std::ios::trunc) << content;
    return Open();
  }

  static constexpr uint64_t kCommits = 60;
  const History history_{1};
  penstock::testing::TempFolder folder_;
  std::string log_;
  std::string content_;
  OpenReport report_;
  std::unique_ptr<Store> store_;
};

TEST_F(WalRotTest, FlippedBitInSyncedCommitsIsRefused) {
  Random random(1);
  int refused = 0;
  constexpr int kFlips = 40;
  for (int flip = 0; flip < kFlips; ++flip) {
    std::string rotten = content_;
    const uint64_t byte = random.Below(rotten.size());
    rotten[byte] = static_cast<char>(rotten[byte] ^ (1 << random.Below(8)));
    const absl::Status status = OpenWithLog(rotten);
    if (status.ok()) {
      // A byte that stands for nothing, or the closing mark: then everything must be there.
      EXPECT_EQ(History::LastCommit(*store_), kCommits) << "byte " << byte;
      EXPECT_EQ(history_.Difference(*store_, kCommits), "") << "byte " << byte;
      continue;
    }
    ++refused;
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(log_));
    EXPECT_THAT(std::string(status.message()), HasSubstr("Restore a backup"));
  }
  EXPECT_GT(refused, kFlips * 9 / 10);
}

TEST_F(WalRotTest, RefusalNamesTheLastCommitAndChangesNothing) {
  std::string rotten = content_;
  rotten[rotten.size() / 2] ^= 1;
  const absl::Status status = OpenWithLog(rotten);
  EXPECT_THAT(std::string(status.message()),
              ::testing::ContainsRegex("byte [0-9]+.*partition 0 is readable up to commit [0-9]+"));
  std::ostringstream after;
  after << std::ifstream(log_, std::ios::binary).rdbuf();
  EXPECT_TRUE(after.str() == rotten);
  const absl::Status again = Open();
  EXPECT_EQ(again.message(), status.message());
  EXPECT_TRUE(OpenWithLog(content_).ok());
}

TEST_F(WalRotTest, ZeroedPageOfSyncedCommitsIsRefused) {
  for (uint64_t page = 0; page < 3; ++page) {
    std::string rotten = content_;
    rotten.replace(page * 4096, 4096, std::string(4096, '\0'));
    EXPECT_TRUE(absl::IsDataLoss(OpenWithLog(rotten))) << page;
  }
}

TEST_F(WalRotTest, DamageToTheLastCommitIsRefusedOnceAnEmptyOneFollowedIt) {
  ASSERT_TRUE(OpenWithLog(content_).ok());
  ASSERT_TRUE(store_->Commit(history_.Commit(kCommits + 1), /*sync=*/true).ok());
  std::string log;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "db")) {
    if (entry.path().extension() == ".log") log = entry.path();
  }
  const auto last_byte = std::filesystem::file_size(log) - 1;
  ASSERT_TRUE(store_->Commit(CommitBatch(), /*sync=*/true).ok());
  // As after kill -9: nothing was closed.
  std::filesystem::copy(folder_ / "db", folder_ / "killed");
  store_.reset();
  std::filesystem::remove_all(folder_ / "db");
  std::filesystem::copy(folder_ / "killed", folder_ / "db");
  std::fstream file(log, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(last_byte));
  const char rotten = static_cast<char>(file.get() ^ 1);
  file.seekp(static_cast<std::streamoff>(last_byte));
  file.put(rotten);
  file.close();
  const absl::Status status = Open();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_F(WalRotTest, TornTailIsCutAndReported) {
  ASSERT_TRUE(OpenWithLog(content_ + std::string(5'000, '\0')).ok());
  EXPECT_EQ(report_.step, 3);
  EXPECT_EQ(report_.dropped_bytes, 5'000u);
  EXPECT_THAT(report_.dropped_from, HasSubstr(log_));
  EXPECT_EQ(History::LastCommit(*store_), kCommits);
}

TEST_F(WalRotTest, WholeLogIsOpenedInOneStep) {
  ASSERT_TRUE(OpenWithLog(content_).ok());
  EXPECT_EQ(report_.step, 1);
  EXPECT_EQ(report_.dropped_bytes, 0u);
  EXPECT_EQ(report_.wal_bytes, content_.size());
  EXPECT_EQ(history_.Difference(*store_, kCommits), "");
}

TEST_F(WalRotTest, DamageInALogThatIsNotNeededAnyMoreIsPassedOver) {
  // The first log comes back, damaged, beside the data that has long been written out from it.
  ASSERT_TRUE(OpenWithLog(content_).ok());
  ASSERT_TRUE(store_->Commit(history_.Commit(kCommits + 1), /*sync=*/true).ok());
  store_.reset();
  ASSERT_FALSE(std::filesystem::exists(log_));
  std::string rotten = content_;
  rotten[rotten.size() / 2] ^= 1;
  std::ofstream(log_, std::ios::binary) << rotten;
  const absl::Status status = Open();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(report_.step, 2);
  EXPECT_EQ(history_.Difference(*store_, kCommits + 1), "");
}

}  // namespace
}  // namespace penstock::broker
