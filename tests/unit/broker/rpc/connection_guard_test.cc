#include "broker/rpc/connection_guard.h"

#include <map>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kStart = absl::Seconds(100);
constexpr ino_t kOne = 11;
constexpr ino_t kTwo = 12;

TEST(CallBudgetTest, NoLookIsDueWhileFewCallsBegin) {
  CallBudget budget(1'000);
  EXPECT_FALSE(budget.Due(0));
  EXPECT_FALSE(budget.Due(249));
  EXPECT_TRUE(budget.Due(250));
  EXPECT_FALSE(budget.Due(499));
  EXPECT_TRUE(budget.Due(5'000));
}

TEST(CallBudgetTest, ConnectionIsDoubtfulOnceItSentEnoughForTooManyCalls) {
  CallBudget budget(1'000);
  EXPECT_THAT(budget.Doubtful({{kOne, 9'000}, {kTwo, 9'009}}), ElementsAre(kTwo));
  // Of a request of some bytes, for instance: the same amount again before the next doubt.
  EXPECT_FALSE(budget.Exceeded(kTwo, 9'009, {.held = 1, .empty = 0}, kStart));
  EXPECT_THAT(budget.Doubtful({{kTwo, 18'000}}), IsEmpty());
  EXPECT_THAT(budget.Doubtful({{kTwo, 18'018}}), ElementsAre(kTwo));
  // The more it holds, the sooner.
  EXPECT_FALSE(budget.Exceeded(kTwo, 18'018, {.held = 900, .empty = 0}, kStart));
  EXPECT_THAT(budget.Doubtful({{kTwo, 18'918}}), IsEmpty());
  EXPECT_THAT(budget.Doubtful({{kTwo, 18'927}}), ElementsAre(kTwo));
}

TEST(CallBudgetTest, TooManyHeldCallsAreOneTooMany) {
  CallBudget budget(1'000);
  EXPECT_FALSE(budget.Exceeded(kOne, 100'000, {.held = 1'000, .empty = 0}, kStart));
  EXPECT_TRUE(budget.Exceeded(kOne, 100'100, {.held = 1'001, .empty = 0}, kStart));
}

TEST(CallBudgetTest, EmptyCallsCountForTenSeconds) {
  CallBudget budget(1'000);
  EXPECT_FALSE(budget.Exceeded(kOne, 100'000, {.held = 0, .empty = 600}, kStart));
  EXPECT_FALSE(budget.Exceeded(kOne, 200'000, {.held = 0, .empty = 1'000}, kStart + absl::Seconds(9)));
  // One at a time, for years.
  EXPECT_FALSE(budget.Exceeded(kOne, 300'000, {.held = 0, .empty = 1'900}, kStart + absl::Seconds(11)));
  EXPECT_TRUE(budget.Exceeded(kOne, 400'000, {.held = 0, .empty = 2'001}, kStart + absl::Seconds(20)));
}

TEST(CallBudgetTest, ConnectionThatWasShutIsNotLookedAtAgainAndItsInodeMayBe) {
  CallBudget budget(1'000);
  EXPECT_TRUE(budget.Exceeded(kOne, 100'000, {.held = 2'000, .empty = 0}, kStart));
  EXPECT_THAT(budget.Doubtful({{kOne, 100'000}}), ElementsAre(kOne));
  budget.SetShut(kOne);
  EXPECT_THAT(budget.Doubtful({{kOne, 900'000}}), IsEmpty());
  EXPECT_THAT(budget.Doubtful({}), IsEmpty());
  EXPECT_THAT(budget.Doubtful({{kOne, 9'009}}), ElementsAre(kOne));
}

}  // namespace
}  // namespace penstock::broker
