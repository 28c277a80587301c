// A real broker dies at a call on its files: killed, in the middle of a write, or with the power, which takes what was
// not synced. The next start finds everything that was acknowledged.
//
// penstock-faults --crash runs as many points as wanted, and repeats one.

#include "gtest/gtest.h"
#include "tests/faults/fault_points.h"

namespace penstock::broker {
namespace {

constexpr uint64_t kPoints = 108;
constexpr int kThreads = 3;

std::vector<std::unique_ptr<FaultScenario>> Scenarios(const std::vector<std::string>& names) {
  std::vector<std::unique_ptr<FaultScenario>> scenarios;
  for (const std::string& name : names) {
    std::unique_ptr<FaultScenario> scenario;
    const std::string wrong = FaultScenario::Make(name, /*seed=*/1, &scenario);
    EXPECT_EQ(wrong, "");
    if (wrong.empty()) scenarios.push_back(std::move(scenario));
  }
  return scenarios;
}

TEST(CrashTest, NothingAcknowledgedIsLostAtAnyCallAndNoStartIsRefused) {
  const auto scenarios = Scenarios(FaultScenario::Names());
  ASSERT_EQ(scenarios.size(), FaultScenario::Names().size());
  FaultCounts counts;
  EXPECT_EQ(RunPoints(ChoosePoints(scenarios, CrashModes(), kPoints, /*seed=*/1), kThreads, /*keep_going=*/false,
                      &counts, nullptr),
            "");
  // The points met what they are for.
  EXPECT_GT(counts.by_end["at work: exit 137"], kPoints / 3);
  EXPECT_GT(counts.by_end["at the start: exit 137"], 0u);
  EXPECT_GT(counts.completed, kPoints);
}

// The judge is judged: a broker that does not sync, and loses its power, cannot hide.
TEST(CrashTest, BrokerThatDoesNotSyncIsFoundOut) {
  const auto scenarios = Scenarios({"first"});
  ASSERT_EQ(scenarios.size(), 1u);
  int found = 0;
  for (int tenth = 5; tenth <= 9; ++tenth) {
    FaultCounts counts;
    const uint64_t nth = scenarios[0]->CallsOf(penstock::testing::kChanges) * static_cast<uint64_t>(tenth) / 10;
    if (!RunPoint({scenarios[0].get(), FindMode("no-sync"), nth, /*seed=*/3, ""}, &counts).empty()) ++found;
  }
  EXPECT_GE(found, 4);
}

}  // namespace
}  // namespace penstock::broker
