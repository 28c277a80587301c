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

TEST(CallBudgetTest, TooManyHeldCallsWithoutARequestAreOneTooMany) {
  CallBudget budget(1'000);
  // However slowly they came.
  EXPECT_FALSE(budget.Exceeded(kOne, 100'000, {.held = 600, .empty = 600}, kStart));
  EXPECT_FALSE(budget.Exceeded(kOne, 200'000, {.held = 1'000, .empty = 1'000}, kStart + absl::Seconds(20)));
  EXPECT_TRUE(budget.Exceeded(kOne, 200'100, {.held = 1'001, .empty = 1'001}, kStart + absl::Seconds(40)));
}

TEST(CallBudgetTest, ThoseThatBroughtARequestMayBeMore) {
  CallBudget budget(1'000);
  EXPECT_FALSE(budget.Exceeded(kOne, 100'000, {.held = 4'000, .empty = 10}, kStart));
  EXPECT_TRUE(budget.Exceeded(kOne, 100'100, {.held = 4'001, .empty = 10}, kStart));
}

// A call is empty while its request is on its way.
TEST(CallBudgetTest, EmptyCallsThatGetTheirRequestsAreNone) {
  CallBudget budget(1'000);
  EXPECT_FALSE(budget.Exceeded(kOne, 100'000, {.held = 5, .empty = 12}, kStart));
  EXPECT_FALSE(budget.Exceeded(kOne, 200'000, {.held = 5, .empty = 3}, kStart + absl::Seconds(11)));
  EXPECT_THAT(budget.Doubtful({{kOne, 200'900}}), IsEmpty());
  EXPECT_FALSE(budget.Exceeded(kOne, 300'000, {.held = 5, .empty = 2}, kStart + absl::Seconds(12)));
  EXPECT_TRUE(budget.Exceeded(kOne, 400'000, {.held = 5, .empty = 1'003}, kStart + absl::Seconds(13)));
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
  EXPECT_TRUE(budget.Exceeded(kOne, 100'000, {.held = 2'000, .empty = 2'000}, kStart));
  EXPECT_THAT(budget.Doubtful({{kOne, 100'000}}), ElementsAre(kOne));
  budget.SetShut(kOne);
  EXPECT_THAT(budget.Doubtful({{kOne, 900'000}}), IsEmpty());
  EXPECT_THAT(budget.Doubtful({}), IsEmpty());
  EXPECT_THAT(budget.Doubtful({{kOne, 9'009}}), ElementsAre(kOne));
}

}  // namespace
}  // namespace penstock::broker
