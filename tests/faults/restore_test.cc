// A store is backed up while a random workload of all commands runs on it, lost, and restored to its last commit from
// the backup and the logs: the ledger of what clients were told judges the restored store, before and after everything
// was run.

#include "broker/offline/restore.h"

#include <filesystem>
#include <memory>

#include "absl/time/clock.h"
#include "broker/core/audit.h"
#include "broker/storage/backup_repository.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/log_archive.h"
#include "broker/storage/rocksdb_store.h"
#include "gtest/gtest.h"
#include "tests/faults/ledger.h"
#include "tests/faults/workload.h"
#include "tests/support/recount.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

class RestoredLife {
 public:
  explicit RestoredLife(uint64_t seed) : workload_(seed, &ledger_, &clock_) {
    options_.core.block_bytes = 4'000;
    options_.core.checkpoint_bytes = 8'000;
    options_.core.block_cache_bytes = 50'000;
    options_.core.max_tasks_per_worker = 30;
    options_.core.session_grace = 20 * kMilli;
    options_.core.reclaim_window = 50 * kMilli;
  }

  void Run() {
    const std::string lost = folder_ / "lost";
    std::string instance;
    {
      auto data_dir = DataDir::Open(lost);
      ASSERT_TRUE(data_dir.ok()) << data_dir.status();
      instance = (*data_dir)->instance();
      ASSERT_NO_FATAL_FAILURE(Open((*data_dir)->db_path()));
      Live([&] {
        for (int part = 0; part < 3; ++part) {
          for (int turn = 0; turn < 60; ++turn) ASSERT_TRUE(workload_.Turn());
          if (part == 2) break;  // what comes after the last backup is in the log alone
          ASSERT_NO_FATAL_FAILURE(BackUp(lost + "/db", instance));
        }
      });
      store_.reset();
    }
    RestoreRequest request;
    request.repository = repository_;
    request.data_dir = folder_ / "restored";
    request.until = RestoreUntil();
    request.logs = {lost + "/db"};
    const auto report = RestoreBackup(request, options_.core);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_FALSE(report->verified.damaged()) << ToText(*report);
    EXPECT_GT(report->replayed, 0u);
    ASSERT_NO_FATAL_FAILURE(Open(request.data_dir + "/db"));
    EXPECT_EQ(Check(), "");
    Live([&] { EXPECT_TRUE(workload_.Drain()); });
    EXPECT_EQ(Check(), "");
    EXPECT_EQ(Recount(options_.core, *store_), "");
    for (const auto& [serial, task] : ledger_.tasks()) EXPECT_NE(task.fates, kUnfinished) << serial;
    EXPECT_GT(workload_.counts().tasks_acknowledged, 100u);
  }

 private:
  std::string Check() { return ledger_.Check(options_.core, *store_, ToMicros(clock_.Read().wall)); }

  void Open(const std::string& path) {
    RocksDbStoreOptions options;
    options.path = path;
    options.memtable_bytes = size_t{1} << 20;
    options.wal_bytes = uint64_t{1} << 20;
    options.keep_logs_seconds = 3'600;
    auto opened = OpenRocksDbStore(options, nullptr);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }

  template <class Do>
  void Live(Do what) {
    Inbox inbox;
    Engine engine(options_, *store_, inbox, clock_, [&](const absl::Status&) { inbox.Fail(); });
    inbox.Attach(&engine);
    const absl::Status started = engine.Start();
    ASSERT_TRUE(started.ok()) << started;
    workload_.Attach(&engine, &inbox);
    what();
    engine.Stop();
    workload_.Detach();
    EXPECT_EQ(workload_.problems(), "");
  }

  void BackUp(const std::string& db_path, const std::string& instance) {
    auto repository = BackupRepository::OpenFor(repository_, instance, 0);
    ASSERT_TRUE(repository.ok()) << repository.status();
    BackupNote note;
    note.instance = instance;
    const std::string key = AppliedKey(0);
    note.applied = DecodeApplied(key, store_->Get(Family::kMeta, key).value()).value();
    const auto made = (*repository)->Create(*DatabaseOf(*store_), note, [](uint64_t, bool) {});
    ASSERT_TRUE(made.ok()) << made.status();
    ASSERT_TRUE(CopyLogs(db_path, (*repository)->log_path()).ok());
  }

  penstock::testing::TempFolder folder_;
  const std::string repository_ = folder_ / "backups";
  EngineOptions options_;
  ShiftedClock clock_;
  Ledger ledger_;
  Workload workload_;
  std::unique_ptr<Store> store_;
};

TEST(RestoreTest, NothingAcknowledgedIsMissingAfterARestoreToTheLastCommit) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    RestoredLife(seed).Run();
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace penstock::broker
