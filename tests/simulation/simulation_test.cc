// The simulation itself: that it repeats, that it can fail, that its parts do what they stand for. What it says about
// the broker is the business of penstock-sim (docs/reliability.md).

#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "broker/storage/memory_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/checker/checker.h"
#include "tests/scenario/script.h"
#include "tests/simulation/shrink.h"
#include "tests/simulation/sim_world.h"

namespace penstock::broker {
namespace {

using ::testing::IsEmpty;

std::string Problems(const SimWorld& world) {
  std::string text;
  for (const SimProblem& problem : world.problems()) text += problem.rule + ": " + problem.what + "\n";
  return text;
}

std::string HistoryText(const SimWorld& world) {
  std::ostringstream text;
  histcheck::Write(world.history(), text);
  return text.str();
}

// PENSTOCK_SEEDS=N runs so many instead: sanitizers take their time.
uint64_t Seeds(uint64_t usual) {
  const char* wanted = std::getenv("PENSTOCK_SEEDS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : usual;
}

TEST(SimulationTest, ASeedIsAlwaysTheSameWorld) {
  const uint64_t seeds = Seeds(20);
  std::set<uint64_t> traces;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SimWorld first(DrawConfig(seed)), second(DrawConfig(seed));
    first.Run();
    // What one world leaves behind in the process does not reach the next.
    SimWorld other(DrawConfig(seed + 1'000));
    other.Run();
    second.Run();
    EXPECT_EQ(first.trace_hash(), second.trace_hash()) << "seed " << seed;
    EXPECT_EQ(HistoryText(first), HistoryText(second)) << "seed " << seed;
    traces.insert(first.trace_hash());
  }
  EXPECT_EQ(traces.size(), seeds);
}

TEST(SimulationTest, WorldsKeepEveryPromise) {
  const uint64_t seeds = Seeds(60);
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SimWorld world(DrawConfig(seed));
    world.Run();
    ASSERT_EQ(Problems(world), "") << "penstock-sim --seed " << seed;
    ASSERT_GT(world.history().size(), 20u);
  }
}

TEST(SimulationTest, AHistoryFromAFileIsJudgedAlike) {
  SimWorld world(DrawConfig(2));
  world.Run();
  std::istringstream in(HistoryText(world));
  histcheck::History again;
  std::string error;
  ASSERT_TRUE(histcheck::Read(in, &again, &error)) << error;
  const histcheck::Verdict verdict = histcheck::Check(again);
  EXPECT_THAT(verdict.violations, IsEmpty());
  EXPECT_GT(verdict.completions, 0u);
  // And a file may break a promise: a completed task is given out again.
  std::set<uint64_t> completed;
  for (const histcheck::Event& event : again) {
    if (event.op == histcheck::Op::kTask && event.state == "completed") completed.insert(event.task);
  }
  for (size_t i = 0; i < again.size(); ++i) {
    if (again[i].op != histcheck::Op::kDeliver || !completed.contains(again[i].task)) continue;
    histcheck::Event second = again[i];
    second.token += uint64_t{1} << 50;
    second.t = again.back().t;
    again.push_back(second);
    break;
  }
  EXPECT_FALSE(histcheck::Check(again).violations.empty());
}

TEST(ShrinkTest, WhatIsNotNeededIsDropped) {
  SimConfig config = DrawConfig(8);
  config.features |= uint64_t{1} << static_cast<int>(Feature::kCuts);
  config.workers = 7;
  config.producers = 5;
  int runs = 0;
  const SimConfig small = Shrink(config, [&](const SimConfig& candidate) {
    ++runs;
    return candidate.has(Feature::kCuts) && candidate.workers >= 3 && candidate.events >= 130;
  });
  EXPECT_EQ(small.features, uint64_t{1} << static_cast<int>(Feature::kCuts));
  EXPECT_EQ(small.workers, 3);
  EXPECT_EQ(small.producers, 1);
  EXPECT_EQ(small.events, 130u);
  EXPECT_LT(runs, 300);
}

TEST(ShrinkTest, TheCommandLineNamesWhatWasDropped) {
  SimConfig config = DrawConfig(8);
  EXPECT_EQ(CommandLine(config), "--seed 8");
  const SimConfig drawn = config;
  for (int i = 0; i < static_cast<int>(Feature::kCount); ++i) {
    const auto feature = static_cast<Feature>(i);
    if (!drawn.has(feature)) continue;
    config.Drop(feature);
    EXPECT_EQ(CommandLine(config), fmt::format("--seed 8 --without {}", NameOf(feature)));
    SimConfig again = drawn;
    ASSERT_TRUE(DropByName(NameOf(feature), &again));
    EXPECT_EQ(again.features, config.features);
    break;
  }
  config.events = 7;
  EXPECT_THAT(CommandLine(config), ::testing::EndsWith(" --events 7"));
}

// What a world did, read by the scenarios' own interpreter, which checks every commit besides.
TEST(DoorScriptTest, AScenarioCanSayWhatHappened) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SimConfig config = DrawConfig(seed);
    config.Drop(Feature::kPowerLoss);  // a scenario cannot take back what it was told
    config.events = 200;
    SimWorld world(config, true);
    world.Run();
    Script script;
    std::istringstream lines(world.Script(150'000));
    int said = 0;
    for (std::string line; std::getline(lines, line) && said < 400;) {
      if (line.starts_with("#")) continue;
      ++said;
      try {
        script.Run(line);
      } catch (const std::runtime_error& error) {
        ADD_FAILURE() << "seed " << seed << ": " << line << ": " << error.what();
        return;
      }
      ASSERT_FALSE(HasFailure()) << "seed " << seed << " after: " << line;
    }
    EXPECT_GT(said, 5);
  }
}

std::map<std::string, std::string> Contents(const StoreReader& store) {
  std::map<std::string, std::string> all;
  for (int family = 0; family < kFamilyCount; ++family) {
    EXPECT_TRUE(store
                    .Scan(static_cast<Family>(family), "", "",
                          [&](std::string_view key, std::string_view value) {
                            all[fmt::format("{} {}", family, key)] = value;
                            return true;
                          })
                    .ok());
  }
  return all;
}

CommitBatch RandomBatch(SimRandom* random) {
  CommitBatch batch;
  for (int i = 0; i < 5; ++i) {
    const std::string key = fmt::format("k{}", random->Below(20));
    switch (random->Below(4)) {
      case 0:
        batch.Delete(Family::kTasks, key);
        break;
      case 1:
        batch.DeleteRange(Family::kTasks, key, fmt::format("k{}", random->Below(20)));
        break;
      default:
        batch.Put(Family::kTasks, key, fmt::format("v{}", random->Bits()));
    }
  }
  return batch;
}

TEST(SimStoreTest, HoldsWhatTheStoreInMemoryHoldsAndLosesOnlyWhatWasNotSynced) {
  SimRandom random(7);
  SimStore store;
  MemoryStore memory;
  std::vector<std::map<std::string, std::string>> after = {{}};  // each commit since the last sync
  for (int i = 0; i < 600; ++i) {
    const CommitBatch batch = RandomBatch(&random);
    const bool sync = random.OneIn(4);
    ASSERT_TRUE(store.Commit(batch, sync).ok());
    ASSERT_TRUE(memory.Commit(batch, sync).ok());
    if (sync) after.clear();
    after.push_back(Contents(memory));
    ASSERT_EQ(Contents(store), after.back());
    ASSERT_EQ(store.unsynced(), after.size() - 1);
    if (!random.OneIn(10)) continue;
    const size_t lost = random.Below(after.size());
    store.LosePower(lost);
    after.resize(after.size() - lost);
    ASSERT_EQ(Contents(store), after.back());
    EXPECT_EQ(store.unsynced(), 0u);
    CommitBatch rest;  // bring the other to the same
    rest.DeleteRange(Family::kTasks, "", "z");
    for (const auto& [key, value] : after.back()) rest.Put(Family::kTasks, key.substr(2), value);
    ASSERT_TRUE(memory.Commit(rest, true).ok());
    after = {Contents(memory)};
  }
}

TEST(SimStoreTest, AFailedCommitIsThereOrNotAndTheStoreIsClosed) {
  for (const bool keep : {false, true}) {
    SimStore store;
    CommitBatch batch;
    batch.Put(Family::kTasks, "a", "1");
    store.FailNextCommit(keep);
    EXPECT_FALSE(store.Commit(batch, true).ok());
    EXPECT_EQ(store.Get(Family::kTasks, "a").ok(), keep);
    EXPECT_FALSE(store.Commit(batch, true).ok());
    EXPECT_FALSE(store.GetHealth().status.ok());
    store.Reopen();
    EXPECT_TRUE(store.Commit(batch, true).ok());
  }
}

TEST(SimStoreTest, AFullDiskTakesNothingAndGoesOnWhenThereIsRoom) {
  SimStore store;
  CommitBatch batch;
  batch.Put(Family::kTasks, "a", "1");
  store.set_full(true);
  EXPECT_TRUE(absl::IsResourceExhausted(store.Commit(batch, true)));
  EXPECT_FALSE(store.Get(Family::kTasks, "a").ok());
  store.set_full(false);
  EXPECT_TRUE(store.Commit(batch, true).ok());
}

TEST(SimStoreTest, ABlockThatIsWrittenTwiceIsMisuse) {
  SimStore store;
  CommitBatch batch;
  batch.Put(Family::kBlocks, "b", "1");
  ASSERT_TRUE(store.Commit(batch, true).ok());
  EXPECT_EQ(store.misuse(), "");
  ASSERT_TRUE(store.Commit(batch, true).ok());
  EXPECT_NE(store.misuse(), "");
}

}  // namespace
}  // namespace penstock::broker
