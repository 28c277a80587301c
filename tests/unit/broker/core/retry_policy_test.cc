#include "broker/core/retry_policy.h"

#include <set>

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

TEST(RetryPolicyTest, GrowsToItsCapWithoutJitter) {
  const RetryPolicy policy{.initial_backoff = kSecond, .multiplier = 2, .max_backoff = 10 * kSecond, .jitter = 0};
  const Span expected[] = {1, 2, 4, 8, 10, 10};
  for (uint32_t attempt = 1; attempt <= 6; ++attempt) {
    EXPECT_EQ(BackoffAfter(policy, TaskId(1), attempt), expected[attempt - 1] * kSecond) << attempt;
  }
  EXPECT_EQ(BackoffAfter(policy, TaskId(1), 100'000), 10 * kSecond) << "the power overflows";
}

TEST(RetryPolicyTest, LinearGrowsByItsFirstWait) {
  const RetryPolicy policy{.initial_backoff = 3 * kSecond,
                           .multiplier = 50,
                           .max_backoff = 10 * kSecond,
                           .jitter = 0,
                           .backoff = Backoff::kLinear};
  const Span expected[] = {3, 6, 9, 10, 10};
  for (uint32_t attempt = 1; attempt <= 5; ++attempt) {
    EXPECT_EQ(BackoffAfter(policy, TaskId(1), attempt), expected[attempt - 1] * kSecond) << attempt;
  }
}

TEST(RetryPolicyTest, FixedStaysAndIsSpreadLikeAnyOther) {
  RetryPolicy policy{.initial_backoff = 3 * kSecond,
                     .multiplier = 50,
                     .max_backoff = 10 * kSecond,
                     .jitter = 0,
                     .backoff = Backoff::kFixed};
  for (uint32_t attempt : {1u, 2u, 1'000u}) {
    EXPECT_EQ(BackoffAfter(policy, TaskId(1), attempt), 3 * kSecond) << attempt;
  }
  policy.jitter = 0.5;
  EXPECT_NE(BackoffAfter(policy, TaskId(1), 1), BackoffAfter(policy, TaskId(2), 1));
  EXPECT_GE(BackoffAfter(policy, TaskId(1), 1), 1'500 * kMilli);
}

TEST(RetryPolicyTest, JitterSpreadsWithinItsBounds) {
  const RetryPolicy full{
      .initial_backoff = 100 * kSecond, .multiplier = 1, .max_backoff = 3'600 * kSecond, .jitter = 1};
  RetryPolicy half = full;
  half.jitter = 0.5;
  std::set<Span> waits;
  Span sum = 0;
  for (uint32_t slot = 0; slot < 10'000; ++slot) {
    const TaskId task(0, 7, slot);
    const Span wait = BackoffAfter(full, task, 1);
    EXPECT_GE(wait, 0);
    EXPECT_LE(wait, 100 * kSecond);
    waits.insert(wait);
    sum += wait;
    EXPECT_GE(BackoffAfter(half, task, 1), 50 * kSecond);
    EXPECT_LE(BackoffAfter(half, task, 1), 100 * kSecond);
  }
  EXPECT_GT(waits.size(), 9'900u) << "a herd is spread";
  EXPECT_NEAR(static_cast<double>(sum) / 10'000, 50.0 * kSecond, 1.0 * kSecond);
}

TEST(RetryPolicyTest, TheDrawDependsOnTaskAndAttemptAlone) {
  const RetryPolicy policy;
  EXPECT_EQ(BackoffAfter(policy, TaskId(9), 3), BackoffAfter(policy, TaskId(9), 3));
  EXPECT_NE(BackoffAfter(policy, TaskId(9), 3), BackoffAfter(policy, TaskId(10), 3));
}

TEST(RetryPolicyTest, NoBackoffStaysNoneForAnyAttempt) {
  const RetryPolicy policy{.initial_backoff = 0, .multiplier = 10, .jitter = 1};
  for (uint32_t attempt : {1u, 2u, 400u, 100'000u}) EXPECT_EQ(BackoffAfter(policy, TaskId(1), attempt), 0) << attempt;
}

}  // namespace
}  // namespace penstock::broker
