#include "common/ticks.h"

#include <string>

#include "gtest/gtest.h"

namespace penstock {
namespace {

absl::Time At(int64_t seconds) { return absl::FromUnixSeconds(seconds); }

Ticks Every(absl::Duration interval, absl::Time anchor) {
  TickSpec spec;
  spec.interval = interval;
  spec.anchor = anchor;
  return *Ticks::Make(spec);
}

TEST(TicksTest, AnIntervalIsCountedFromItsAnchor) {
  const Ticks ticks = Every(absl::Seconds(10), At(1'003));
  EXPECT_EQ(ticks.Next(At(1'000)), At(1'003));
  EXPECT_EQ(ticks.Next(At(1'003)), At(1'013));
  EXPECT_EQ(ticks.Next(At(1'012)), At(1'013));
  EXPECT_EQ(ticks.Next(At(993)), At(1'003));
  EXPECT_EQ(ticks.Next(At(990)), At(993));
  EXPECT_EQ(ticks.Next(At(1'003) + absl::Microseconds(1)), At(1'013));
}

TEST(TicksTest, NothingBeforeTheStartNorAfterTheEnd) {
  TickSpec spec;
  spec.cron = "0 * * * *";
  spec.start = At(7'200);
  spec.end = At(10'800);
  const auto ticks = Ticks::Make(spec);
  ASSERT_TRUE(ticks.ok());
  EXPECT_EQ(ticks->Next(At(0)), At(7'200));
  EXPECT_EQ(ticks->Next(At(7'200)), At(10'800));
  EXPECT_EQ(ticks->Next(At(10'800)), std::nullopt);
  EXPECT_EQ(ticks->Next(At(1'000'000)), std::nullopt);
}

TEST(TicksTest, TheLastTickOfALongTimeIsFoundWithoutWalkingIt) {
  const Ticks seconds = Every(absl::Seconds(1), At(0));
  EXPECT_EQ(seconds.Last(At(5), At(1'000'000'000) + absl::Milliseconds(500)), At(1'000'000'000));
  EXPECT_EQ(seconds.Last(At(5), At(5)), At(5));
  TickSpec spec;
  // Every second of January: of a time in June that is the last of them.
  spec.cron = "* * * * 1 *";
  spec.time_zone = "Europe/Berlin";
  const auto january = Ticks::Make(spec);
  ASSERT_TRUE(january.ok());
  const absl::Time first = *january->Next(At(1'000'000'000));
  absl::TimeZone berlin;
  ASSERT_TRUE(absl::LoadTimeZone("Europe/Berlin", &berlin));
  const absl::Time june = absl::FromCivil(absl::CivilDay(2020, 6, 1), berlin);
  EXPECT_EQ(january->Last(first, june), absl::FromCivil(absl::CivilSecond(2020, 1, 31, 23, 59, 59), berlin));
}

TEST(TicksTest, TheLastTickIsTheOneThatWalkingFinds) {
  for (const char* cron : {"*/7 3 * * *", "0 0 * * 1", "30 2 * * *", "*/10 * * * *"}) {
    TickSpec spec;
    spec.cron = cron;
    spec.time_zone = "America/New_York";
    const auto ticks = Ticks::Make(spec);
    ASSERT_TRUE(ticks.ok());
    const absl::Time first = *ticks->Next(At(1'772'000'000));  // before a change of the clock
    for (absl::Time until = first; until < first + absl::Hours(24 * 30); until += absl::Minutes(997)) {
      absl::Time walked = first;
      for (auto next = ticks->Next(walked); next && *next <= until; next = ticks->Next(walked)) walked = *next;
      ASSERT_EQ(ticks->Last(first, until), walked) << cron << " until " << until;
    }
  }
}

TEST(TicksTest, WhatIsWrongIsSaid) {
  TickSpec spec;
  spec.cron = "0 0 30 2 *";
  EXPECT_FALSE(Ticks::Make(spec).ok());
  spec.cron = "@daily";
  spec.time_zone = "Mars/Base";
  EXPECT_FALSE(Ticks::Make(spec).ok());
}

}  // namespace
}  // namespace penstock
