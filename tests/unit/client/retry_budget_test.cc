#include "client/retry_budget.h"

#include "client/backoff.h"
#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

// How many repetitions there are at a moment.
int TakeAll(RetryBudget& budget, absl::Time now) {
  int taken = 0;
  while (budget.Take(now)) ++taken;
  return taken;
}

TEST(RetryBudgetTest, TenCallsPayForOneRepetition) {
  RetryBudget budget;
  EXPECT_EQ(TakeAll(budget, kStart), 10) << "what a new client may spend";
  for (int i = 0; i < 35; ++i) budget.OnCall();
  EXPECT_EQ(TakeAll(budget, kStart), 3);
}

TEST(RetryBudgetTest, ASecondPaysForOneRepetitionAndNoMoreThanTenAreSaved) {
  RetryBudget budget;
  TakeAll(budget, kStart);
  EXPECT_EQ(budget.UntilNext(), absl::Seconds(1));
  EXPECT_EQ(TakeAll(budget, kStart + absl::Milliseconds(3'500)), 3);
  EXPECT_EQ(budget.UntilNext(), absl::Milliseconds(500));
  for (int i = 0; i < 1'000; ++i) budget.OnCall();
  EXPECT_EQ(TakeAll(budget, kStart + absl::Hours(1)), 10);
  EXPECT_EQ(TakeAll(budget, kStart), 0) << "a clock that was set back gives nothing";
}

TEST(RetryBudgetTest, ARepetitionThatIsTakenCostsNothing) {
  RetryBudget budget;
  TakeAll(budget, kStart);
  budget.OnTaken();
  EXPECT_EQ(TakeAll(budget, kStart), 1);
}

TEST(RetryPauseTest, IsNeverLessThanTheBrokerAskedForAndDrawn) {
  ClientOptions options;
  const absl::Status busy = LimitReached("limits.mailbox", "busy", absl::Seconds(7));
  bool differs = false;
  const absl::Duration first = RetryPause(options, 10, busy);
  for (int i = 0; i < 100; ++i) {
    const absl::Duration pause = RetryPause(options, 10, busy);
    EXPECT_GE(pause, absl::Seconds(7));
    EXPECT_LE(pause, absl::Seconds(7) + options.reconnect_max);
    differs = differs || pause != first;
  }
  EXPECT_TRUE(differs);
  EXPECT_LE(RetryPause(options, 10, absl::UnavailableError("away")), options.reconnect_max);
}

TEST(RetryPauseTest, OnlyARefusalThatSaysWhenToComeAgainIsForNow) {
  EXPECT_TRUE(IsRefusedForNow(LimitReached("limits.mailbox", "busy", absl::Seconds(1))));
  EXPECT_FALSE(IsRefusedForNow(LimitReached("limits.queues", "too many queues")));
  EXPECT_FALSE(IsRefusedForNow(absl::UnavailableError("away")));
}

}  // namespace
}  // namespace penstock
