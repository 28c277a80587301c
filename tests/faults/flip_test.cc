// A bit is flipped in a file of a broker that has ended. The start is refused with a sentence, or whoever asks for what
// is damaged is told so, or nothing is wrong: never a wrong value, never a silent loss.
//
// penstock-faults --flips runs as many as wanted, and repeats one.

#include "broker/storage/envelope.h"
#include "broker/storage/rocksdb_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/fault_scenario.h"
#include "tests/faults/flips.h"
#include "tests/support/file_damage.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kFlips = 160;
constexpr int kThreads = 3;

std::unique_ptr<FlipScenario> Scenario(const std::string& name) {
  std::unique_ptr<FlipScenario> scenario;
  EXPECT_EQ(FlipScenario::Make(name, /*seed=*/1, &scenario), "");
  return scenario;
}

TEST(FlipTest, NoFlippedBitGivesAWrongValueOrASilentLoss) {
  std::vector<std::unique_ptr<FlipScenario>> scenarios;
  for (const std::string& name : FlipScenario::Names()) {
    scenarios.push_back(Scenario(name));
    ASSERT_NE(scenarios.back(), nullptr);
  }
  FlipCounts counts;
  EXPECT_EQ(RunFlips(ChooseFlips(scenarios, kFlips, /*seed=*/1), /*seed=*/1, kThreads, /*keep_going=*/false, &counts,
                     nullptr),
            "");
  for (const char* kind : {"log", "table", "MANIFEST", "CURRENT", "OPTIONS", "SYNCED.penstock", "FORMAT"}) {
    EXPECT_GT(counts.by_kind[kind], 0u) << kind;
  }
  EXPECT_GT(counts.by_end["log: refused"], 0u);
}

// What this harness has found, one test each.

// RocksDB passes over a backup whose list of files is damaged: the one before it was restored without a word.
TEST(FlipTest, DamagedListOfTheNewestBackupIsNamed) {
  const auto scenario = Scenario("backup");
  ASSERT_NE(scenario, nullptr);
  penstock::testing::TempFolder folder;
  const std::string backups = folder / "backups";
  std::filesystem::copy(scenario->path(), backups, std::filesystem::copy_options::recursive);
  penstock::testing::FlipBit(backups + "/default/rocksdb/meta/1", 36, 6);  // in the hexadecimal note
  const ProgramRun restore = RunBroker({"--restore", backups + "/default", "--data-dir", folder / "restored"});
  EXPECT_EQ(restore.code, 78) << restore.output;
  EXPECT_THAT(restore.output, HasSubstr("backup 1"));
  EXPECT_THAT(restore.output, HasSubstr("meta/1"));
}

// A damaged FORMAT could not be repaired, though nothing but the name of the folder's instance is lost with it.
TEST(FlipTest, FolderWithADamagedFormatIsRepaired) {
  const auto scenario = Scenario("stopped");
  ASSERT_NE(scenario, nullptr);
  penstock::testing::TempFolder folder;
  const std::string data = folder / "data";
  std::filesystem::copy(scenario->path(), data, std::filesystem::copy_options::recursive);
  penstock::testing::FlipBit(data + "/FORMAT", 2);  // in the word "format"
  const ProgramRun start = RunBroker({"--data-dir", data, "--grpc.address", "127.0.0.1:0", "--http.address", ""});
  EXPECT_EQ(start.code, 78) << start.output;
  EXPECT_THAT(start.output, HasSubstr("--repair"));
  const ProgramRun repair = RunBroker({"--data-dir", data, "--repair", "--to", folder / "repaired"});
  EXPECT_EQ(repair.code, 0) << repair.output;
  WireMemory memory = scenario->memory();
  EXPECT_EQ(JudgeFolder(folder / "repaired", {}, &memory), "");
}

// The judge is judged with what a store that looks at no checksum would hand out.
class ForgedFolder {
 public:
  ForgedFolder() : scenario_(Scenario("stopped")), memory_(scenario_->memory()) {
    std::filesystem::copy(scenario_->path(), data(), std::filesystem::copy_options::recursive);
  }
  // Changes the blocks of the store, with checksums that are right.
  void Forge(const std::function<void(const std::string& key, const std::string& body, CommitBatch* batch)>& change) {
    RocksDbStoreOptions options;
    options.path = data() + "/db";
    auto store = OpenRocksDbStore(options, nullptr);
    ASSERT_TRUE(store.ok()) << store.status();
    CommitBatch batch;
    ASSERT_TRUE((*store)
                    ->Scan(Family::kBlocks, "", "",
                           [&](std::string_view key, std::string_view value) {
                             change(std::string(key), std::string(OpenValue(key, value).value()), &batch);
                             return true;
                           })
                    .ok());
    ASSERT_GT(batch.bytes(), 0u);
    ASSERT_TRUE((*store)->Commit(batch, true).ok());
  }
  std::string Judge() {
    std::string what;
    return JudgeDamaged(data(), "db", memory_, &what);
  }

 private:
  std::string data() const { return folder_ / "data"; }

  penstock::testing::TempFolder folder_;
  std::unique_ptr<FlipScenario> scenario_;
  WireMemory memory_;
};

TEST(FlipTest, StoreThatSkipsItsChecksumsIsFoundOut) {
  ForgedFolder folder;
  folder.Forge([](const std::string& key, const std::string& body, CommitBatch* batch) {
    std::string flipped = body;
    flipped.back() = static_cast<char>(flipped.back() ^ 4);  // the end of the last task's TaskSpec
    batch->Put(Family::kBlocks, key, SealValue(key, flipped));
  });
  EXPECT_NE(folder.Judge(), "");
}

TEST(FlipTest, StoreThatForgetsWithoutAWordIsFoundOut) {
  ForgedFolder folder;
  folder.Forge(
      [](const std::string& key, const std::string&, CommitBatch* batch) { batch->Delete(Family::kBlocks, key); });
  EXPECT_NE(folder.Judge(), "");
}

}  // namespace
}  // namespace penstock::broker
