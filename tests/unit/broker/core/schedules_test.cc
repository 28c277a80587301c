#include "broker/core/schedules.h"

#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "broker/storage/task_block.h"
#include "gtest/gtest.h"
#include "penstock/v1/task.pb.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

Command Create(CoreDriver& driver, const std::string& name, Span interval, CatchUp catch_up, Overlap overlap) {
  auto change = std::make_shared<ScheduleChange>();
  change->times.emplace().interval = interval;
  ScheduledTask& task = change->task.emplace();
  task.queue = "mail";
  task.type = "send";
  v1::TaskSpec spec;
  spec.set_queue(task.queue);
  spec.set_type(task.type);
  spec.set_payload("hello");
  (*spec.mutable_headers())["trace"] = "t";
  task.spec = spec.SerializeAsString();
  change->catch_up = catch_up;
  change->overlap = overlap;
  return ScheduleCommand{driver.NewTicket(), ScheduleVerb::kCreate, name, std::move(change)};
}

// How many tasks each tick of each schedule has: {schedule, seconds since `start`}.
std::map<std::pair<std::string, int64_t>, int> TasksOfTicks(const MemoryStore& store, Time start) {
  std::map<std::pair<std::string, int64_t>, int> counts;
  (void)store.Scan(Family::kBlocks, "", "", [&](std::string_view key, std::string_view value) {
    auto block = TaskBlock::Parse(std::string(*OpenValue(key, value)));
    EXPECT_TRUE(block.ok()) << block.status();
    for (uint32_t slot = 0; slot < (*block)->slot_count(); ++slot) {
      v1::TaskSpec spec;
      const std::string_view bytes = (*block)->spec(slot);
      EXPECT_TRUE(spec.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
      EXPECT_EQ(spec.payload(), "hello");
      EXPECT_EQ(spec.headers().at("trace"), "t");
      absl::Time tick;
      std::string error;
      EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, spec.headers().at("penstock-tick"), &tick, &error)) << error;
      ++counts[{spec.headers().at("penstock-schedule"), (ToMicros(tick) - start) / kSecond}];
    }
    return true;
  });
  return counts;
}

// The broker dies whenever it likes, with as many commits kept as it likes; its clock stands, runs and goes back.
TEST(SchedulesTest, EachTickHasExactlyOneTaskWhateverCrashes) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    CoreDriver driver;
    const Time start = driver.now().wall;
    const std::map<std::string, Span> schedules = {
        {"one-second", kSecond}, {"two", 2 * kSecond}, {"seven", 7 * kSecond}};
    for (const auto& [name, interval] : schedules) {
      driver.Step(Create(driver, name, interval, CatchUp::kAll, Overlap::kAllow));
    }
    driver.set_pipeline_depth(random() % 3);
    for (int i = 0; i < 200; ++i) {
      switch (random() % 8) {
        case 0:
          driver.Crash(random() % 3);
          break;
        case 1:
          driver.MoveWallClock(-static_cast<Span>(random() % 20) * kSecond);
          break;
        case 2:
          driver.Advance(static_cast<Span>(random() % 300) * kSecond);
          break;
        case 3:
          driver.CommitAll();
          break;
        default:
          driver.Advance(static_cast<Span>(random() % 3'000) * kMilli);
      }
    }
    driver.Advance(kMinute);
    driver.CommitAll();
    const auto counts = TasksOfTicks(driver.store(), start);
    std::map<std::string, int64_t> last;
    for (const auto& [tick, count] : counts) {
      ASSERT_EQ(count, 1) << "seed " << seed << ": " << tick.first << " at " << tick.second << " s";
      const int64_t interval = schedules.at(tick.first) / kSecond;
      ASSERT_EQ(tick.second, last[tick.first] + interval) << "seed " << seed << ": " << tick.first << " left one out";
      last[tick.first] = tick.second;
    }
    ASSERT_EQ(last.size(), schedules.size());
    EXPECT_EQ(last["one-second"] / 7, last["seven"] / 7) << "seed " << seed;
    EXPECT_GT(last["one-second"], 60);
  }
}

// As above, with policies that leave ticks out: none twice, and what was counted is what is there.
TEST(SchedulesTest, NoTickHasTwoTasksWithAnyPolicy) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    CoreDriver driver;
    const Time start = driver.now().wall;
    std::map<std::string, uint64_t> fired;
    for (const CatchUp catch_up : {CatchUp::kNone, CatchUp::kOne, CatchUp::kAll}) {
      for (const Overlap overlap : {Overlap::kAllow, Overlap::kSkip, Overlap::kCancelPrevious}) {
        const std::string name = "s" + std::to_string(fired.size());
        fired[name] = 0;
        driver.Step(Create(driver, name, static_cast<Span>(fired.size()) * kSecond, catch_up, overlap));
      }
    }
    driver.set_pipeline_depth(random() % 3);
    for (int i = 0; i < 100; ++i) {
      if (random() % 4 == 0) {
        driver.Crash(random() % 3);
      } else {
        driver.Advance(static_cast<Span>(random() % 100'000) * kMilli);
      }
    }
    driver.CommitAll();
    for (const auto& [tick, count] : TasksOfTicks(driver.store(), start)) {
      ASSERT_EQ(count, 1) << "seed " << seed << ": " << tick.first << " at " << tick.second << " s";
      fired[tick.first] += 1;
    }
    driver.set_pipeline_depth(0);
    for (const auto& [name, count] : fired) {
      const Effects effects = driver.Step(ScheduleCommand{driver.NewTicket(), ScheduleVerb::kGet, name, nullptr});
      ASSERT_EQ(effects.replies.size(), 1);
      const ScheduleView& view = std::get<ScheduleReply>(effects.replies[0].value).schedule;
      // Blocks whose tasks are all cancelled are deleted.
      EXPECT_GE(view.fired_total, count) << "seed " << seed << ": " << name;
      EXPECT_TRUE(view.definition->overlap != Overlap::kAllow || view.fired_total == count) << name;
    }
  }
}

// The zone data may have gone with a package; what is stored must outlive that.
TEST(SchedulesTest, AnUnknownTimeZoneMakesOneScheduleWaitAndNotTheBroker) {
  CoreDriver driver;
  driver.Step(Create(driver, "good", kMinute, CatchUp::kOne, Overlap::kAllow));
  driver.Step(Create(driver, "bad", kMinute, CatchUp::kOne, Overlap::kAllow));
  // What a broker with more zones would have stored.
  const Keys keys(0);
  auto record = GetRecord<records::ScheduleRecord>(driver.store(), Family::kMeta, keys.Schedule("bad"));
  ASSERT_TRUE(record.ok());
  record->set_cron("* * * * *");
  record->set_time_zone("Mars/Base");
  CommitBatch batch;
  batch.Put(Family::kMeta, keys.Schedule("bad"), SealRecord(keys.Schedule("bad"), *record));
  ASSERT_TRUE(driver.store().Commit(batch, true).ok());
  driver.Crash();
  driver.Advance(kMinute);
  auto get = [&](ScheduleVerb verb, const std::string& name, std::shared_ptr<const ScheduleChange> change = nullptr) {
    const Effects effects = driver.Step(ScheduleCommand{driver.NewTicket(), verb, name, std::move(change)});
    EXPECT_TRUE(effects.replies[0].status.ok()) << effects.replies[0].status;
    return std::get<ScheduleReply>(effects.replies[0].value).schedule;
  };
  EXPECT_EQ(get(ScheduleVerb::kGet, "good").fired_total, 1);
  ScheduleView bad = get(ScheduleVerb::kGet, "bad");
  EXPECT_EQ(bad.fired_total, 0);
  EXPECT_NE(bad.error.find("Mars/Base"), std::string::npos) << bad.error;
  // Other times mend it.
  auto change = std::make_shared<ScheduleChange>();
  change->times.emplace().cron = "* * * * *";
  bad = get(ScheduleVerb::kUpdate, "bad", change);
  EXPECT_EQ(bad.error, "");
  driver.Advance(kMinute);
  EXPECT_EQ(get(ScheduleVerb::kGet, "bad").fired_total, 1);
}

}  // namespace
}  // namespace penstock::broker
