#include "broker/storage/backup_repository.h"

#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "broker/storage/log_archive.h"
#include "broker/storage/rocksdb_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/chained_commits.h"
#include "tests/support/file_damage.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using penstock::testing::FilesIn;
using penstock::testing::FlipBit;
using penstock::testing::TempFolder;
using penstock::testing::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class BackupRepositoryTest : public ::testing::Test {
 protected:
  void SetUp() override { store_ = OpenStore("db"); }

  std::unique_ptr<Store> OpenStore(const std::string& name) {
    RocksDbStoreOptions options;
    options.path = folder_ / name;
    options.keep_logs_seconds = 3'600;
    auto store = OpenRocksDbStore(options, nullptr);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  std::unique_ptr<BackupRepository> Open(const std::string& instance = "i1") {
    auto repository = BackupRepository::OpenFor(path(), instance, 0);
    EXPECT_TRUE(repository.ok()) << repository.status();
    return repository.ok() ? *std::move(repository) : nullptr;
  }
  BackupSummary Make(BackupRepository& repository, const std::string& label = "") {
    BackupNote note;
    note.version = "0.1.0";
    note.instance = "i1";
    note.label = label;
    note.applied = chain_.applied();
    auto made = repository.Create(*DatabaseOf(*store_), note, [](uint64_t, bool) {});
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *made : BackupSummary();
  }
  void Put(uint64_t from, uint64_t to) {
    for (uint64_t i = from; i <= to; ++i) {
      chain_.Put(*store_, Family::kBlocks, NumberKey(i), fmt::format("value {}", i) + std::string(500, 'x'));
    }
  }
  static uint64_t Count(const StoreReader& store) {
    uint64_t count = 0;
    EXPECT_TRUE(store
                    .Scan(Family::kBlocks, "", "",
                          [&](auto, auto) {
                            ++count;
                            return true;
                          })
                    .ok());
    return count;
  }
  std::string path() const { return folder_ / "backups"; }

  TempFolder folder_;
  ChainedCommits chain_;
  std::unique_ptr<Store> store_;
};

TEST_F(BackupRepositoryTest, BackupOfARunningStoreIsRestoredWhole) {
  Put(1, 50);
  auto repository = Open();
  const BackupSummary made = Make(*repository, "two\nlines = odd");
  EXPECT_EQ(made.id, 1u);
  EXPECT_GT(made.bytes, 0u);
  Put(51, 60);
  const auto found = repository->Get(1);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->note.label, "two\nlines = odd");
  EXPECT_EQ(found->note.instance, "i1");
  EXPECT_EQ(found->note.applied.sequence, 50u);
  ASSERT_TRUE(repository->Restore(1, folder_ / "restored").ok());
  const auto restored = OpenStore("restored");
  EXPECT_EQ(Count(*restored), 50u);
  EXPECT_EQ(ChainedCommits::Read(*restored).hash, found->note.applied.hash);
}

TEST_F(BackupRepositoryTest, FolderIsClosedToOthersAndBelongsToOneBroker) {
  std::filesystem::create_directory(path());
  chmod(path().c_str(), 0777);
  Open().reset();
  struct stat info {};
  ASSERT_EQ(stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  const auto other = BackupRepository::OpenFor(path(), "i2", 0);
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("another broker"));
}

TEST_F(BackupRepositoryTest, FolderWithOtherThingsInItIsRefused) {
  std::filesystem::create_directory(path());
  WriteFile(path() + "/holiday.jpg", "x");
  EXPECT_THAT(std::string(BackupRepository::OpenFor(path(), "i1", 0).status().message()), HasSubstr("holiday.jpg"));
  EXPECT_FALSE(BackupRepository::OpenExisting(path()).ok());
  // A link may lead anywhere.
  std::filesystem::create_directory(folder_ / "elsewhere");
  std::filesystem::create_directory_symlink(folder_ / "elsewhere", folder_ / "link");
  EXPECT_FALSE(BackupRepository::OpenFor(folder_ / "link", "i1", 0).ok());
}

TEST_F(BackupRepositoryTest, NewerFormatIsRefusedWithASentence) {
  Open().reset();
  WriteFile(path() + "/BACKUPS", "format=9\nmin_reader=9\ninstance=i1\n");
  const auto refused = BackupRepository::OpenExisting(path());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("newer Penstock"));
}

TEST_F(BackupRepositoryTest, OnlyOneWorksWithTheFolder) {
  auto first = Open();
  EXPECT_EQ(BackupRepository::OpenExisting(path()).status().code(), absl::StatusCode::kUnavailable);
  first.reset();
  EXPECT_TRUE(BackupRepository::OpenExisting(path()).ok());
}

TEST_F(BackupRepositoryTest, KeptFilesAreStoredOnce) {
  Put(1, 200);
  store_.reset();
  store_ = OpenStore("db");  // now in table files
  auto repository = Open();
  Make(*repository);
  const size_t shared = FilesIn(path() + "/rocksdb", ".sst").size();
  ASSERT_GT(shared, 0u);
  Put(201, 202);
  Make(*repository);
  EXPECT_EQ(FilesIn(path() + "/rocksdb", ".sst").size(), shared);
  EXPECT_THAT(repository->List(), SizeIs(2));
}

TEST_F(BackupRepositoryTest, OnlyTheNewestAreKept) {
  Put(1, 5);
  auto repository = Open();
  for (int i = 0; i < 4; ++i) Make(*repository);
  EXPECT_EQ(repository->KeepNewest(2).value(), 2u);
  std::vector<uint32_t> ids;
  for (const BackupSummary& backup : repository->List()) ids.push_back(backup.id);
  EXPECT_THAT(ids, ElementsAre(3, 4));
  EXPECT_TRUE(absl::IsNotFound(repository->Delete(1)));
  EXPECT_TRUE(repository->Delete(3).ok());
  EXPECT_TRUE(repository->Verify(4).ok());
  EXPECT_TRUE(absl::IsNotFound(repository->Verify(3)));
}

TEST_F(BackupRepositoryTest, EveryFlippedBitIsNoticed) {
  Put(1, 200);
  store_.reset();
  store_ = OpenStore("db");
  Put(201, 210);
  auto repository = Open();
  Make(*repository);
  for (const std::string& file : FilesIn(path() + "/rocksdb", "")) {
    if (file.find("/meta/") != std::string::npos) continue;  // read once, when the folder is opened
    SCOPED_TRACE(file);
    const std::string content = penstock::testing::ReadFile(file);
    if (content.empty()) continue;
    FlipBit(file, content.size() / 2);
    EXPECT_TRUE(absl::IsDataLoss(repository->Verify(1)));
    EXPECT_TRUE(absl::IsDataLoss(repository->Restore(1, folder_ / "no")));
    WriteFile(file, content);
  }
  const std::string table = FilesIn(path() + "/rocksdb", ".sst").at(0);
  const std::string content = penstock::testing::ReadFile(table);
  std::filesystem::remove(table);
  EXPECT_TRUE(absl::IsDataLoss(repository->Verify(1)));
  WriteFile(table, content.substr(1));
  EXPECT_TRUE(absl::IsDataLoss(repository->Verify(1)));
  WriteFile(table, content);
  EXPECT_TRUE(repository->Verify(1).ok());
}

TEST_F(BackupRepositoryTest, StoppedRepositoryMakesNoBackup) {
  Put(1, 5);
  auto repository = Open();
  repository->Stop();
  EXPECT_TRUE(absl::IsCancelled(repository->Create(*DatabaseOf(*store_), BackupNote(), [](auto, auto) {}).status()));
  repository.reset();
  EXPECT_EQ(Make(*Open()).id, 1u);
}

TEST_F(BackupRepositoryTest, RestoresAreNoted) {
  auto repository = Open();
  EXPECT_THAT(repository->RestoreEpochs(), IsEmpty());
  ASSERT_TRUE(repository->NoteRestore(1, 900, "/a b\nc").ok());
  ASSERT_TRUE(repository->NoteRestore(1, 700, "/d").ok());
  EXPECT_THAT(repository->RestoreEpochs(), ElementsAre(700, 900));
}

// --- logs ---

TEST_F(BackupRepositoryTest, LogsLeadToEveryCommitBetweenTwoBackups) {
  Put(1, 10);
  auto repository = Open();
  Make(*repository);
  const Applied at_backup = chain_.applied();
  Put(11, 30);
  store_.reset();
  store_ = OpenStore("db");  // another log; the first is put aside
  Put(31, 40);
  ASSERT_TRUE(CopyLogs(folder_ / "db", repository->log_path()).ok());
  EXPECT_EQ(CopyLogs(folder_ / "db", repository->log_path()).value(), 0u);  // all there
  for (const uint64_t until : {10, 11, 30, 31, 40}) {
    SCOPED_TRACE(until);
    const std::string name = fmt::format("to{}", until);
    ASSERT_TRUE(repository->Restore(1, folder_ / name).ok());
    auto store = OpenStore(name);
    ReplayLimit limit;
    limit.sequence = until;
    const auto replayed = ReplayLogs({repository->log_path()}, at_backup, limit, *store);
    ASSERT_TRUE(replayed.ok()) << replayed.status();
    EXPECT_EQ(replayed->applied.sequence, until);
    EXPECT_EQ(replayed->commits, until - 10);
    EXPECT_TRUE(replayed->limit_reached);
    EXPECT_EQ(Count(*store), until);
    EXPECT_EQ(ChainedCommits::Read(*store).sequence, until);
  }
  // By time; commit n was made at second n. Past the last, nobody knows whether there was another.
  auto store = OpenStore("by_time");
  ReplayLimit limit;
  limit.time = 25'500'000;
  EXPECT_EQ(ReplayLogs({repository->log_path()}, Applied(), limit, *store)->applied.sequence, 25u);
  limit.time = 99'000'000;
  const auto all = ReplayLogs({repository->log_path()}, ChainedCommits::Read(*store), limit, *store);
  EXPECT_EQ(all->applied.sequence, 40u);
  EXPECT_FALSE(all->limit_reached);
}

TEST_F(BackupRepositoryTest, GrownLogTakesThePlaceOfItsCopy) {
  Put(1, 5);
  auto repository = Open();
  ASSERT_EQ(CopyLogs(folder_ / "db", repository->log_path()).value(), 1u);
  Put(6, 9);
  ASSERT_EQ(CopyLogs(folder_ / "db", repository->log_path()).value(), 1u);
  EXPECT_THAT(FilesIn(repository->log_path(), ".log"), SizeIs(1));
  ASSERT_TRUE(DropLogs(repository->log_path(), 8).ok());
  EXPECT_THAT(FilesIn(repository->log_path(), ".log"), SizeIs(1));
  ASSERT_TRUE(DropLogs(repository->log_path(), 9).ok());
  EXPECT_THAT(FilesIn(repository->log_path(), ".log"), IsEmpty());
}

TEST_F(BackupRepositoryTest, ReplayEndsWhereALogIsDamagedOrMissing) {
  Put(1, 20);
  auto repository = Open();
  ASSERT_TRUE(CopyLogs(folder_ / "db", repository->log_path()).ok());
  const std::string log = FilesIn(repository->log_path(), ".log").at(0);
  const size_t place = penstock::testing::ReadFile(log).find("value 12");
  FlipBit(log, place + 20);
  auto store = OpenStore("restored");
  const auto replayed = ReplayLogs({repository->log_path()}, Applied(), ReplayLimit(), *store);
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_EQ(replayed->applied.sequence, 11u);
  EXPECT_EQ(Count(*store), 11u);
}

TEST_F(BackupRepositoryTest, AnotherLifeOfTheDataIsNotMixedIn) {
  Put(1, 10);
  const Applied fork = chain_.applied();
  Put(11, 15);
  // A broker that was restored at commit 10 went on with other commits, which follow just as well.
  auto other = OpenStore("other");
  {
    ChainedCommits same(1);
    for (uint64_t i = 1; i <= 10; ++i) {
      same.Put(*other, Family::kBlocks, NumberKey(i), fmt::format("value {}", i) + std::string(500, 'x'));
    }
    ASSERT_EQ(same.applied().hash, fork.hash);
  }
  other.reset();
  other = OpenStore("other");
  ChainedCommits life(0);
  life.GoOn(fork, 9'000);
  life.Put(*other, Family::kBlocks, NumberKey(500), "another story");
  auto repository = Open();
  ASSERT_TRUE(CopyLogs(folder_ / "other", repository->log_path()).ok());
  ASSERT_TRUE(CopyLogs(folder_ / "db", repository->log_path()).ok());
  auto restored = OpenStore("restored");
  ReplayLimit limit;
  limit.epoch_end = 9'000;
  const auto replayed = ReplayLogs({repository->log_path()}, Applied(), limit, *restored);
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_EQ(replayed->applied.sequence, 15u);
  EXPECT_TRUE(absl::IsNotFound(restored->Get(Family::kBlocks, NumberKey(500)).status()));
}

}  // namespace
}  // namespace penstock::broker
