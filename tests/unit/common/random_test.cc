#include "common/random.h"

#include <set>

#include "gtest/gtest.h"

namespace penstock {
namespace {

TEST(RandomTest, FractionsAreDrawnFromTheWholeRangeAndDiffer) {
  constexpr int kDraws = 10'000;
  std::set<double> drawn;
  double sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double fraction = RandomFraction();
    ASSERT_GE(fraction, 0);
    ASSERT_LT(fraction, 1);
    sum += fraction;
    drawn.insert(fraction);
  }
  EXPECT_EQ(drawn.size(), static_cast<size_t>(kDraws));
  EXPECT_LT(*drawn.begin(), 0.01);
  EXPECT_GT(*drawn.rbegin(), 0.99);
  EXPECT_NEAR(sum / kDraws, 0.5, 0.05);  // 17 standard deviations
}

}  // namespace
}  // namespace penstock
