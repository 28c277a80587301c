// What every Store must do, in memory and on disk alike.

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/storage/memory_store.h"
#include "broker/storage/rocksdb_store.h"
#include "broker/storage/store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A store that can be closed and opened again with its data.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual Store& store() = 0;
  virtual void Reopen() = 0;
};

class MemorySubject : public Subject {
 public:
  Store& store() override { return *store_; }
  void Reopen() override { store_ = store_->Reopen(); }

 private:
  std::unique_ptr<MemoryStore> store_ = std::make_unique<MemoryStore>();
};

class RocksDbSubject : public Subject {
 public:
  RocksDbSubject() { Reopen(); }
  Store& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    RocksDbStoreOptions options;
    options.path = folder_ / "db";
    // Small, so that the tests reach files, flushes and compactions.
    options.memtable_bytes = size_t{6} << 20;
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenRocksDbStore(options, nullptr);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = std::move(*opened);
  }

 private:
  penstock::testing::TempFolder folder_;
  std::unique_ptr<Store> store_;
};

struct Kind {
  const char* name;
  std::function<std::unique_ptr<Subject>()> make;
};

class StoreConformanceTest : public ::testing::TestWithParam<Kind> {
 protected:
  Store& store() { return subject_->store(); }
  void Reopen() { subject_->Reopen(); }

  void Commit(const std::function<void(CommitBatch&)>& fill, bool sync = false) {
    CommitBatch batch;
    fill(batch);
    const absl::Status status = store().Commit(batch, sync);
    ASSERT_TRUE(status.ok()) << status;
  }

  static std::string Get(const StoreReader& reader, Family family, std::string_view key) {
    absl::StatusOr<std::string> value = reader.Get(family, key);
    return value.ok() ? *value : absl::IsNotFound(value.status()) ? "(none)" : value.status().ToString();
  }
  std::string Get(Family family, std::string_view key) { return Get(store(), family, key); }

  // "key=value" of all that a scan visits, `limit` at most.
  static std::vector<std::string> Scan(const StoreReader& reader, Family family, std::string_view begin,
                                       std::string_view end, bool forward = true, size_t limit = SIZE_MAX) {
    std::vector<std::string> seen;
    auto visit = [&](std::string_view key, std::string_view value) {
      seen.push_back(fmt::format("{}={}", key, value));
      return seen.size() < limit;
    };
    const absl::Status status =
        forward ? reader.Scan(family, begin, end, visit) : reader.ScanBackward(family, begin, end, visit);
    EXPECT_TRUE(status.ok()) << status;
    return seen;
  }
  std::vector<std::string> All(Family family) { return Scan(store(), family, "", ""); }

 private:
  std::unique_ptr<Subject> subject_ = GetParam().make();
};

TEST_P(StoreConformanceTest, NewStoreIsEmptyAndHealthy) {
  for (int family = 0; family < kFamilyCount; ++family) EXPECT_THAT(All(static_cast<Family>(family)), IsEmpty());
  EXPECT_TRUE(store().GetHealth().status.ok());
  EXPECT_FALSE(store().GetHealth().stalled);
  EXPECT_TRUE(absl::IsNotFound(store().Get(Family::kMeta, "nothing").status()));
}

TEST_P(StoreConformanceTest, PutValueIsReadBack) {
  Commit([](CommitBatch& batch) { batch.Put(Family::kTasks, "a", "1"); });
  EXPECT_EQ(Get(Family::kTasks, "a"), "1");
  Commit([](CommitBatch& batch) { batch.Put(Family::kTasks, "a", "2"); }, /*sync=*/true);
  EXPECT_EQ(Get(Family::kTasks, "a"), "2");
}

TEST_P(StoreConformanceTest, FamiliesAreSeparate) {
  Commit([](CommitBatch& batch) {
    for (int family = 0; family < kFamilyCount; ++family) {
      batch.Put(static_cast<Family>(family), "key", std::to_string(family));
    }
    batch.Delete(Family::kIndex, "key");
  });
  EXPECT_EQ(Get(Family::kMeta, "key"), "0");
  EXPECT_EQ(Get(Family::kHistory, "key"), "5");
  EXPECT_EQ(Get(Family::kIndex, "key"), "(none)");
}

TEST_P(StoreConformanceTest, EmptyCommitSucceeds) {
  Commit([](CommitBatch&) {});
  Commit([](CommitBatch&) {}, /*sync=*/true);
}

TEST_P(StoreConformanceTest, EmptyValuesAndBinaryKeysAreKept) {
  const std::string binary("\0\xff\0", 3);
  Commit([&](CommitBatch& batch) {
    batch.Put(Family::kIndex, "empty", "");
    batch.Put(Family::kIndex, binary, binary);
  });
  EXPECT_EQ(Get(Family::kIndex, "empty"), "");
  EXPECT_EQ(Get(Family::kIndex, binary), binary);
  EXPECT_THAT(Scan(store(), Family::kIndex, "a", ""), ElementsAre("empty="));
}

TEST_P(StoreConformanceTest, LargeValuesAreKept) {
  const std::string large(size_t{2} << 20, 'x');
  for (int i = 0; i < 8; ++i) {
    Commit([&](CommitBatch& batch) { batch.Put(Family::kBlocks, std::to_string(i), large + std::to_string(i)); });
  }
  for (int i = 0; i < 8; ++i) EXPECT_EQ(Get(Family::kBlocks, std::to_string(i)), large + std::to_string(i));
  Reopen();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(Get(Family::kBlocks, std::to_string(i)), large + std::to_string(i));
}

TEST_P(StoreConformanceTest, OperationsOfABatchHappenInOrder) {
  Commit([](CommitBatch& batch) { batch.Put(Family::kTasks, "before", "1"); });
  Commit([](CommitBatch& batch) {
    batch.Put(Family::kTasks, "put-delete", "1");
    batch.Delete(Family::kTasks, "put-delete");
    batch.Delete(Family::kTasks, "delete-put");
    batch.Put(Family::kTasks, "delete-put", "1");
    batch.Put(Family::kTasks, "put-put", "1");
    batch.Put(Family::kTasks, "put-put", "2");
    batch.Put(Family::kTasks, "put-range", "1");
    batch.DeleteRange(Family::kTasks, "a", "c");
    batch.DeleteRange(Family::kTasks, "put-range", "put-range0");
    batch.Put(Family::kTasks, "b", "after the range");
  });
  EXPECT_THAT(All(Family::kTasks), ElementsAre("b=after the range", "delete-put=1", "put-put=2"));
}

TEST_P(StoreConformanceTest, DeletedKeysAreGone) {
  Commit([](CommitBatch& batch) {
    batch.Put(Family::kBlocks, "a", "1");
    batch.Put(Family::kBlocks, "b", "2");
    batch.Put(Family::kBlocks, "c", "3");
  });
  Commit([](CommitBatch& batch) {
    batch.Delete(Family::kBlocks, "a");
    batch.SingleDelete(Family::kBlocks, "b");
    batch.Delete(Family::kBlocks, "never was");
  });
  EXPECT_THAT(All(Family::kBlocks), ElementsAre("c=3"));
  EXPECT_EQ(Get(Family::kBlocks, "b"), "(none)");
  Reopen();
  EXPECT_THAT(All(Family::kBlocks), ElementsAre("c=3"));
}

TEST_P(StoreConformanceTest, DeleteRangeKeepsItsEnd) {
  Commit([](CommitBatch& batch) {
    for (const char* key : {"a", "b", "c", "d"}) batch.Put(Family::kDeltas, key, "");
  });
  Commit([](CommitBatch& batch) { batch.DeleteRange(Family::kDeltas, "b", "d"); });
  EXPECT_THAT(All(Family::kDeltas), ElementsAre("a=", "d="));
  EXPECT_EQ(Get(Family::kDeltas, "c"), "(none)");
}

TEST_P(StoreConformanceTest, DeleteRangeWithoutExtentDeletesNothing) {
  Commit([](CommitBatch& batch) {
    for (const char* key : {"a", "b", "c"}) batch.Put(Family::kDeltas, key, "");
  });
  Commit([](CommitBatch& batch) {
    batch.DeleteRange(Family::kDeltas, "b", "b");
    batch.DeleteRange(Family::kDeltas, "c", "a");
    batch.DeleteRange(Family::kDeltas, "a", "");
  });
  EXPECT_THAT(All(Family::kDeltas), ElementsAre("a=", "b=", "c="));
}

TEST_P(StoreConformanceTest, ScansKeepToTheirBounds) {
  Commit([](CommitBatch& batch) {
    for (const char* key : {"a", "b", "c", "d"}) batch.Put(Family::kIndex, key, "");
  });
  for (const bool forward : {true, false}) {
    auto scan = [&](std::string_view begin, std::string_view end) {
      std::vector<std::string> seen = Scan(store(), Family::kIndex, begin, end, forward);
      if (!forward) std::reverse(seen.begin(), seen.end());
      return seen;
    };
    EXPECT_THAT(scan("", ""), ElementsAre("a=", "b=", "c=", "d="));
    EXPECT_THAT(scan("b", ""), ElementsAre("b=", "c=", "d="));
    EXPECT_THAT(scan("", "c"), ElementsAre("a=", "b="));
    EXPECT_THAT(scan("b", "d"), ElementsAre("b=", "c="));
    EXPECT_THAT(scan("aa", "cc"), ElementsAre("b=", "c="));
    EXPECT_THAT(scan("b", "b"), IsEmpty());
    EXPECT_THAT(scan("d", "b"), IsEmpty());
    EXPECT_THAT(scan("e", ""), IsEmpty());
  }
  EXPECT_THAT(Scan(store(), Family::kIndex, "", "", /*forward=*/false), ElementsAre("d=", "c=", "b=", "a="));
}

TEST_P(StoreConformanceTest, ScansStopWhenTold) {
  Commit([](CommitBatch& batch) {
    for (const char* key : {"a", "b", "c", "d"}) batch.Put(Family::kIndex, key, "");
  });
  EXPECT_THAT(Scan(store(), Family::kIndex, "b", "", /*forward=*/true, /*limit=*/2), ElementsAre("b=", "c="));
  EXPECT_THAT(Scan(store(), Family::kIndex, "", "d", /*forward=*/false, /*limit=*/2), ElementsAre("c=", "b="));
}

TEST_P(StoreConformanceTest, ScanMayReadTheStore) {
  Commit([](CommitBatch& batch) {
    batch.Put(Family::kIndex, "a", "task");
    batch.Put(Family::kTasks, "task", "found");
  });
  std::string found;
  const absl::Status scanned = store().Scan(Family::kIndex, "", "", [&](std::string_view, std::string_view value) {
    found = Get(Family::kTasks, value);
    return true;
  });
  EXPECT_TRUE(scanned.ok()) << scanned;
  EXPECT_EQ(found, "found");
}

TEST_P(StoreConformanceTest, SnapshotDoesNotSeeLaterCommits) {
  Commit([](CommitBatch& batch) {
    batch.Put(Family::kTasks, "kept", "1");
    batch.Put(Family::kTasks, "changed", "1");
    batch.Put(Family::kTasks, "deleted", "1");
  });
  const std::unique_ptr<StoreReader> snapshot = store().Snapshot();
  Commit([](CommitBatch& batch) {
    batch.Put(Family::kTasks, "added", "2");
    batch.Put(Family::kTasks, "changed", "2");
    batch.DeleteRange(Family::kTasks, "deleted", "deleted0");
  });
  EXPECT_THAT(Scan(*snapshot, Family::kTasks, "", ""), ElementsAre("changed=1", "deleted=1", "kept=1"));
  EXPECT_THAT(Scan(*snapshot, Family::kTasks, "", "", /*forward=*/false),
              ElementsAre("kept=1", "deleted=1", "changed=1"));
  EXPECT_EQ(Get(*snapshot, Family::kTasks, "added"), "(none)");
  EXPECT_THAT(All(Family::kTasks), ElementsAre("added=2", "changed=2", "kept=1"));
}

TEST_P(StoreConformanceTest, ReopenedStoreHasAllCommits) {
  for (int i = 0; i < 100; ++i) {
    Commit([&](CommitBatch& batch) { batch.Put(Family::kHistory, fmt::format("{:03}", i), "x"); }, i % 10 == 0);
    if (i % 30 == 29) Reopen();
  }
  Reopen();
  EXPECT_EQ(All(Family::kHistory).size(), 100u);
  EXPECT_TRUE(store().GetHealth().status.ok());
}

TEST_P(StoreConformanceTest, HealthCountsBytes) {
  for (int i = 0; i < 20; ++i) {
    Commit([&](CommitBatch& batch) {
      batch.Put(Family::kBlocks, std::to_string(i), std::string(size_t{1} << 20, static_cast<char>('a' + i)));
    });
  }
  EXPECT_GT(store().GetHealth().data_bytes, 0u);
  EXPECT_GT(store().GetHealth().memory_bytes, 0u);
}

TEST_P(StoreConformanceTest, ReadersSeeWholeCommitsWhileOthersAreMade) {
  constexpr int kCommits = 300;
  auto commit = [&](int i) {
    CommitBatch batch;
    batch.Put(Family::kTasks, "a", std::to_string(i));
    batch.Put(Family::kIndex, "b", std::to_string(i));
    batch.Put(Family::kBlocks, fmt::format("{:04}", i), std::string(10'000, 'x'));
    return store().Commit(batch, /*sync=*/false);
  };
  ASSERT_TRUE(commit(0).ok());
  std::atomic<bool> done = false;
  std::atomic<int> differing = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      do {
        const std::unique_ptr<StoreReader> snapshot = store().Snapshot();
        const std::string a = Get(*snapshot, Family::kTasks, "a");
        const size_t blocks = Scan(*snapshot, Family::kBlocks, "", "").size();
        if (a != Get(*snapshot, Family::kIndex, "b") || a != std::to_string(blocks - 1)) ++differing;
        Get(Family::kTasks, "a");
      } while (!done.load());
    });
  }
  for (int i = 1; i < kCommits; ++i) EXPECT_TRUE(commit(i).ok());
  done.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(differing.load(), 0);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreConformanceTest,
                         ::testing::Values(Kind{"Memory", [] { return std::make_unique<MemorySubject>(); }},
                                           Kind{"RocksDb", [] { return std::make_unique<RocksDbSubject>(); }}),
                         [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace penstock::broker
