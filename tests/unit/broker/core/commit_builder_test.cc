#include "broker/core/commit_builder.h"

#include <map>
#include <optional>
#include <random>
#include <string>

#include "broker/storage/memory_store.h"
#include "fmt/format.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

std::string Scanned(const CommitBuilder& commit, std::string_view begin = "", std::string_view end = "",
                    int limit = 1'000) {
  std::string out;
  EXPECT_TRUE(commit
                  .Scan(Family::kIndex, begin, end,
                        [&](std::string_view key, std::string_view value) {
                          out += fmt::format("{}={} ", key, value);
                          return --limit > 0;
                        })
                  .ok());
  return out;
}

class CommitBuilderTest : public ::testing::Test {
 protected:
  void Seal() { sealed_.push_back(commit_.Seal()); }
  void Commit() {
    ASSERT_TRUE(store_.Commit(sealed_.front(), true).ok());
    sealed_.pop_front();
    commit_.Committed();
  }
  MemoryStore store_;
  CommitBuilder commit_{store_};
  std::deque<CommitBatch> sealed_;
};

TEST_F(CommitBuilderTest, ReadsItsOwnWritesThroughEveryLayer) {
  commit_.Put(Family::kIndex, "a", "1");
  commit_.Put(Family::kIndex, "b", "1");
  commit_.Put(Family::kIndex, "c", "1");
  Seal();
  Commit();  // in the store
  commit_.Delete(Family::kIndex, "b");
  commit_.Put(Family::kIndex, "c", "2");
  Seal();  // in flight
  commit_.Put(Family::kIndex, "b", "3");
  commit_.Delete(Family::kIndex, "a");
  commit_.Put(Family::kIndex, "d", "3");
  EXPECT_TRUE(absl::IsNotFound(commit_.Get(Family::kIndex, "a").status()));
  EXPECT_EQ(*commit_.Get(Family::kIndex, "b"), "3");
  EXPECT_EQ(*commit_.Get(Family::kIndex, "c"), "2");
  EXPECT_EQ(Scanned(commit_), "b=3 c=2 d=3 ");
  EXPECT_EQ(Scanned(commit_, "c"), "c=2 d=3 ");
  EXPECT_EQ(Scanned(commit_, "b", "d"), "b=3 c=2 ");
  EXPECT_EQ(Scanned(commit_, "", "", 1), "b=3 ") << "the visitor stops";
  Commit();
  EXPECT_EQ(Scanned(commit_), "b=3 c=2 d=3 ");
  Seal();
  Commit();
  EXPECT_EQ(Scanned(commit_), "b=3 c=2 d=3 ");
}

TEST_F(CommitBuilderTest, FamiliesDoNotMix) {
  commit_.Put(Family::kTasks, "k", "task");
  commit_.Put(Family::kHistory, "k", "history");
  EXPECT_EQ(Scanned(commit_), "");
  EXPECT_EQ(*commit_.Get(Family::kTasks, "k"), "task");
  EXPECT_EQ(*commit_.Get(Family::kHistory, "k"), "history") << "a repeated outcome asks for it before it is committed";
}

TEST_F(CommitBuilderTest, AScanMayWrite) {
  for (char c = 'a'; c < 'f'; ++c) commit_.Put(Family::kIndex, std::string(1, c), "1");
  Seal();
  Commit();
  ASSERT_TRUE(commit_
                  .Scan(Family::kIndex, "", "",
                        [&](std::string_view key, std::string_view) {
                          commit_.Delete(Family::kIndex, key);
                          return true;
                        })
                  .ok());
  EXPECT_EQ(Scanned(commit_), "");
}

// Against a plain map, with random writes, seals, commits and scans.
TEST_F(CommitBuilderTest, LooksLikeOneMap) {
  std::mt19937_64 random(7);
  std::map<std::string, std::string> model;
  for (int step = 0; step < 5'000; ++step) {
    const std::string key = fmt::format("k{:02}", random() % 60);
    switch (random() % 6) {
      case 0:
      case 1:
        commit_.Put(Family::kIndex, key, std::to_string(step));
        model[key] = std::to_string(step);
        break;
      case 2:
        commit_.Delete(Family::kIndex, key);
        model.erase(key);
        break;
      case 3:
        if (sealed_.size() < 3) Seal();
        break;
      case 4:
        if (!sealed_.empty()) Commit();
        break;
      default: {
        const std::string end = random() % 3 == 0 ? "" : fmt::format("k{:02}", random() % 60);
        std::string expected;
        for (auto it = model.lower_bound(key); it != model.end() && (end.empty() || it->first < end); ++it) {
          expected += fmt::format("{}={} ", it->first, it->second);
        }
        if (!end.empty() && end < key) expected.clear();
        ASSERT_EQ(Scanned(commit_, key, end), expected) << "step " << step;
        auto found = model.find(key);
        auto got = commit_.Get(Family::kIndex, key);
        ASSERT_EQ(got.ok(), found != model.end());
        if (got.ok()) {
          ASSERT_EQ(*got, found->second);
        }
      }
    }
  }
}

}  // namespace
}  // namespace penstock::broker
