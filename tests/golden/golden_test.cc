// Data folders that released versions left behind: this one must open each, find in it what was there, run what waits,
// and leave a store that fits together.

#include <filesystem>
#include <fstream>
#include <sstream>

#include "broker/core/audit.h"
#include "broker/offline/verify.h"
#include "broker/storage/data_dir.h"
#include "broker/storage/rocksdb_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_dump.h"
#include "tests/golden/stepped_broker.h"
#include "tests/support/file_damage.h"
#include "tests/support/project_paths.h"
#include "tests/support/recount.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using penstock::testing::Fingerprint;
using penstock::testing::ReadFile;
using penstock::testing::TempFolder;

std::vector<std::string> GoldenFolders() {
  std::vector<std::string> folders;
  const std::string root = SourcePath("tests/testdata/golden");
  for (const auto& version : std::filesystem::directory_iterator(root)) {
    for (const auto& entry : std::filesystem::directory_iterator(version.path())) {
      if (entry.is_directory()) folders.push_back(entry.path().string());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

class GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  GoldenTest() : path_(folder_ / "data") {
    std::filesystem::copy(GetParam(), path_, std::filesystem::copy_options::recursive);
  }
  TempFolder folder_;
  const std::string path_;
};

TEST_P(GoldenTest, HoldsWhatItHeldAndIsNotTouchedByLooking) {
  const auto before = Fingerprint(path_);
  const auto dump = DumpDataDir(path_);
  ASSERT_TRUE(dump.ok()) << dump.status();
  EXPECT_EQ(*dump, ReadFile(GetParam() + ".txt"));
  const auto verified = VerifyDataDir(path_, SteppedBroker::Options());
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_FALSE(verified->damaged()) << ToText(*verified);
  EXPECT_EQ(Fingerprint(path_), before);
}

TEST_P(GoldenTest, RunsWhatWaitsAndFitsTogetherAfterwards) {
  const auto data_dir = DataDir::Open(path_);
  ASSERT_TRUE(data_dir.ok()) << data_dir.status();
  EXPECT_THAT(ReadFile(path_ + "/FORMAT"), ::testing::StartsWith("format=2\nmin_reader=2\n"));
  RocksDbStoreOptions store_options;
  store_options.path = (*data_dir)->db_path();
  auto store = OpenRocksDbStore(store_options, nullptr);
  ASSERT_TRUE(store.ok()) << store.status();
  const CoreOptions options = SteppedBroker::Options();
  const AuditReport before = AuditStore(options, **store);
  uint64_t alive = 0;
  for (const QueueCensus& queue : before.queues) {
    alive += queue.available + queue.scheduled + queue.running + queue.retryable;
  }
  SteppedBroker broker(options, store->get(), before.applied.time_micros);
  for (const char* queue : {"paused", "relaxed"}) {
    QueueCommand resume;
    resume.ticket = Ticket(1);
    resume.verb = QueueVerb::kResume;
    resume.queue = queue;
    broker.Do(resume);
  }
  // The worker that ran something is gone; its tasks go back.
  broker.Advance(kMinute);
  std::vector<std::string> queues;
  for (const QueueCensus& queue : before.queues) queues.push_back(queue.name);
  for (const char* schedule : {"often", "paused"}) {
    broker.Do(ScheduleCommand{Ticket(1), ScheduleVerb::kDelete, schedule, nullptr});
  }
  DeadTasksCommand redrive;  // a dead task holds its key
  redrive.ticket = Ticket(1);
  redrive.queue = "keyed";
  redrive.verb = DeadVerb::kRedrive;
  broker.Do(redrive);
  broker.Connect(queues, {"work", "other", "bulk", "nobody handles this", "nobody.handles.this"}, 100,
                 {{"gpu", "yes"}, {"zone", "eu"}});
  for (int round = 0; round < 200; ++round) {
    for (const auto& [task, token] : std::map<TaskId, FencingToken>(broker.held())) {
      broker.End(task, OutcomeKind::kCompleted, "drained");
    }
    broker.Advance(kMinute);
    broker.Credit(100);
  }
  EXPECT_EQ(Recount(options, **store), "");
  const AuditReport after = AuditStore(options, **store);
  for (const QueueCensus& queue : after.queues) {
    EXPECT_EQ(queue.available + queue.scheduled + queue.running + queue.retryable, 0u) << queue.name;
  }
  EXPECT_GT(alive, 600u);
  EXPECT_GE(broker.delivered().size() + 5, alive);  // a few expire
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest, ::testing::ValuesIn(GoldenFolders()), [](const auto& folder) {
  const std::filesystem::path path(folder.param);
  return path.parent_path().filename().string() + "_" + path.filename().string();
});

TEST(GoldenFolders, EveryFormatHasThem) {
  std::set<std::string> formats;
  for (const std::string& folder : GoldenFolders()) {
    formats.insert(std::filesystem::path(folder).parent_path().filename().string() + " has format " +
                   ReadFile(folder + "/FORMAT").substr(7, 1));
  }
  EXPECT_THAT(formats, ::testing::IsSupersetOf({"v1 has format 1", "v2 has format 2"}));
  for (const std::string& format : formats) EXPECT_EQ(format[1], format.back()) << format;
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(SourcePath("tests/testdata/golden"))) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  EXPECT_LT(bytes, 4u << 20);
}

}  // namespace
}  // namespace penstock::broker
