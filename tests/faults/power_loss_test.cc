// Hundreds of power cuts: nothing acknowledged is lost, nothing appears from nowhere, no start is refused wrongly.
//
// PENSTOCK_POWER_LIVES=N runs N lives; penstock-powerloss runs for hours.

#include <cstdlib>

#include "gtest/gtest.h"
#include "tests/faults/power_loss_life.h"

namespace penstock::broker {
namespace {

constexpr int kCutsALife = 12;

TEST(PowerLossTest, NothingAcknowledgedIsLostAndNoStartIsRefused) {
  const char* const wanted = std::getenv("PENSTOCK_POWER_LIVES");
  const uint64_t lives = wanted == nullptr ? 50 : std::strtoull(wanted, nullptr, 10);
  PowerLossCounts counts;
  for (uint64_t seed = 1; seed <= lives; ++seed) {
    ASSERT_EQ(PowerLossLife(seed, /*lying_disk=*/false).Run(kCutsALife, &counts), "")
        << "repeat with penstock-powerloss --seed " << seed << " --lives 1";
  }
  // The workload reached what it is for.
  EXPECT_GT(counts.tasks, lives * 50);
  EXPECT_GT(counts.outcomes, lives * 10);
  EXPECT_GT(counts.tails_cut, lives / 2);
  EXPECT_GT(counts.manifests_cut, 0u);
  EXPECT_GT(counts.cuts_while_opening, 0u);
  RecordProperty("cuts", static_cast<int>(counts.cuts));
}

TEST(PowerLossTest, DiskThatLiesAboutSyncsIsFoundOut) {
  int found = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    PowerLossCounts counts;
    if (!PowerLossLife(seed, /*lying_disk=*/true).Run(kCutsALife, &counts).empty()) ++found;
  }
  EXPECT_EQ(found, 5);
}

}  // namespace
}  // namespace penstock::broker
