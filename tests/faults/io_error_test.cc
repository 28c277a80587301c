// A call of a real broker on its files fails, once or from then on. It never acknowledges what is not safe, never
// hangs, ends with the code for it or goes on, and the next start finds everything that was acknowledged.
//
// penstock-faults --errors runs as many points as wanted, and repeats one.

#include "gtest/gtest.h"
#include "tests/faults/fault_points.h"

namespace penstock::broker {
namespace {

constexpr uint64_t kPoints = 132;
constexpr int kThreads = 4;

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

TEST(IoErrorTest, FailedCallsLoseNothingAndHangNobody) {
  const auto scenarios = Scenarios(FaultScenario::Names());
  ASSERT_EQ(scenarios.size(), FaultScenario::Names().size());
  FaultCounts counts;
  EXPECT_EQ(RunPoints(ChoosePoints(scenarios, ErrorModes(), kPoints, /*seed=*/1), kThreads, /*keep_going=*/false,
                      &counts, nullptr),
            "");
  // The points met what they are for.
  EXPECT_GT(counts.by_end["at work: exit 74"], kPoints / 20);
  EXPECT_GT(counts.by_end["at the start: exit 74"], 0u);
  EXPECT_GT(counts.by_end["went on"], kPoints / 5);
}

// What this harness has found, one test each.

void RunNamed(const std::string& scenario_name, const std::string& mode, const std::string& only, uint64_t last) {
  const auto scenarios = Scenarios({scenario_name});
  ASSERT_EQ(scenarios.size(), 1u);
  for (uint64_t nth = 1; nth <= last; ++nth) {
    FaultCounts counts;
    const FaultPoint point = {scenarios[0].get(), FindMode(mode), nth, /*seed=*/1, only};
    EXPECT_EQ(RunPoint(point, &counts), "") << point.Command();
    EXPECT_EQ(counts.by_end.count("not reached"), 0u) << point.Command();
  }
}

// A look at FORMAT that failed was taken for a folder without: it was written anew, with another instance.
TEST(IoErrorTest, FormatThatCannotBeLookedAtIsNotReplaced) { RunNamed("again", "eio-read", "FORMAT", 2); }

// RocksDB calls a table file damaged that it cannot look at: the start was refused, and a restore was asked for.
TEST(IoErrorTest, TableFileThatCannotBeLookedAtIsNoDamage) { RunNamed("again", "eio-read", "stat 0000", 2); }

// It ended with the code for a wrong configuration, at which nobody starts it again.
TEST(IoErrorTest, FailingDeviceAtTheStartIsForARestart) { RunNamed("first", "eio", "LOCK.penstock", 3); }

// The same when reads fail from the middle of the start on: RocksDB blames its options then.
TEST(IoErrorTest, FailingReadsAtTheStartAreForARestart) { RunNamed("first", "eio-read-lasting", "open CURRENT", 1); }

// A quota ended the broker, as if the device had failed.
TEST(IoErrorTest, QuotaIsAFullDisk) {
  RunNamed("first", "edquot-lasting", "fdatasync 0", 8);
  RunNamed("busy", "edquot", ".sst", 2);
}

// The judge is judged: a broker that passes over an error cannot hide.
TEST(IoErrorTest, BrokerThatSwallowsErrorsIsFoundOut) {
  const auto scenarios = Scenarios({"first"});
  ASSERT_EQ(scenarios.size(), 1u);
  const uint64_t calls = scenarios[0]->CallsOf(penstock::testing::kChanges);
  int found = 0;
  for (int tenth = 5; tenth <= 8; ++tenth) {
    FaultCounts counts;
    const uint64_t nth = calls * static_cast<uint64_t>(tenth) / 10;
    if (!RunPoint({scenarios[0].get(), FindMode("swallow-lasting"), nth, /*seed=*/1, ""}, &counts).empty()) ++found;
  }
  EXPECT_EQ(found, 4);
}

}  // namespace
}  // namespace penstock::broker
