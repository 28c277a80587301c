#include "broker/storage/keys.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

const Keys kKeys(3);

TEST(KeysTest, NumbersSortLikeThemselves) {
  const std::vector<uint64_t> numbers = {
      0, 1, 127, 128, 255, 256, 65'535, 65'536, 1ull << 31, 1ull << 32, (1ull << 42) - 1};
  for (size_t i = 1; i < numbers.size(); ++i) {
    const uint64_t a = numbers[i - 1], b = numbers[i];
    EXPECT_LT(kKeys.Block(BlockId(a)), kKeys.Block(BlockId(b)));
    EXPECT_LT(kKeys.Delta(a), kKeys.Delta(b));
    EXPECT_LT(kKeys.CheckpointChunk(a, 9), kKeys.CheckpointChunk(b, 0));
    EXPECT_LT(kKeys.Expiry(static_cast<Time>(a), BlockId(b)), kKeys.Expiry(static_cast<Time>(b), BlockId(a)));
    EXPECT_LT(kKeys.Retention(static_cast<Time>(a), TaskId(b)), kKeys.Retention(static_cast<Time>(b), TaskId(a)));
  }
}

TEST(KeysTest, TimersSortByLaneThenDueThenTask) {
  std::mt19937_64 random(1);
  struct Entry {
    uint32_t lane;
    Time due;
    uint64_t task;
    auto operator<=>(const Entry&) const = default;
  };
  std::vector<Entry> entries;
  for (int i = 0; i < 500; ++i) {
    entries.push_back({static_cast<uint32_t>(random() % 4), static_cast<Time>(random() % 1000), random() % 70'000});
  }
  std::vector<Entry> by_key = entries;
  auto key = [](const Entry& entry) { return kKeys.Timer(LaneId(entry.lane), entry.due, TaskId(entry.task)); };
  std::sort(entries.begin(), entries.end());
  std::sort(by_key.begin(), by_key.end(), [&](const Entry& a, const Entry& b) { return key(a) < key(b); });
  EXPECT_EQ(entries, by_key);
}

TEST(KeysTest, ATimerIsTakenApart) {
  const TimerKey timer = ParseTimerKey(kKeys.Timer(LaneId(7), 1'800'000'000 * kSecond, TaskId(3, 99, 5)));
  EXPECT_EQ(timer.due, 1'800'000'000 * kSecond);
  EXPECT_EQ(timer.task, TaskId(3, 99, 5));
}

TEST(KeysTest, BoundsHoldTheirKindAndNothingElse) {
  const std::string first = kKeys.First('T'), past = kKeys.Past('T');
  const std::string timer = kKeys.Timer(LaneId(UINT32_MAX - 1), kNever, TaskId(UINT64_MAX));
  EXPECT_LE(first, timer);
  EXPECT_LT(timer, past);
  EXPECT_LE(past, kKeys.Unique(QueueId(1), ""));
  EXPECT_GT(first, kKeys.Segment(LaneId(UINT32_MAX), UINT64_MAX));
  EXPECT_LT(kKeys.Timer(LaneId(4), kNever, TaskId(UINT64_MAX)), kKeys.PastLane('T', LaneId(4)));
  EXPECT_LE(kKeys.PastLane('T', LaneId(4)), kKeys.FirstOfLane('T', LaneId(5)));
}

TEST(KeysTest, DeadTasksAreAPrefixOfTheirQueue) {
  const std::string prefix = kKeys.DonePrefix(QueueId(2), State::kDead);
  EXPECT_EQ(kKeys.Done(QueueId(2), State::kDead, 5, TaskId(1)).substr(0, prefix.size()), prefix);
  EXPECT_LT(kKeys.Done(QueueId(2), State::kCancelled, kNever, TaskId(UINT64_MAX)), prefix);
  EXPECT_LT(kKeys.Done(QueueId(2), State::kDead, kNever, TaskId(UINT64_MAX)), kKeys.DonePrefix(QueueId(3), State{}));
}

TEST(KeysTest, RecordsOfATaskStandTogether) {
  const TaskId task(3, 10, 4), next(3, 10, 5);
  const std::vector<std::string> keys = {kKeys.TaskRecord(task), kKeys.Attempt(task, UINT32_MAX), kKeys.Log(task, 0),
                                         kKeys.Result(task)};
  for (const std::string& key : keys) {
    EXPECT_LT(key, kKeys.Attempt(next, 0));
    EXPECT_EQ(key.substr(0, 9), keys[0].substr(0, 9));
  }
}

TEST(KeysTest, ABucketEndsAtOrAfterItsTimes) {
  EXPECT_EQ(BucketOf(0), 0u);
  EXPECT_EQ(BucketOf(1), 1u);
  EXPECT_EQ(BucketOf(kMinute), 1u);
  EXPECT_EQ(BucketOf(kMinute + 1), 2u);
  EXPECT_EQ(EndOfBucket(BucketOf(kMinute + 1)), 2 * kMinute);
  EXPECT_EQ(BucketOf(-5), 0u);
  EXPECT_EQ(BucketOf(kNever - kMinute), UINT32_MAX);
}

}  // namespace
}  // namespace penstock::broker
