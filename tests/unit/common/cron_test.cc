#include "common/cron.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace penstock {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

absl::TimeZone Zone(std::string_view name) {
  const auto zone = FindTimeZone(name);
  EXPECT_TRUE(zone.ok()) << zone.status();
  return zone.value_or(absl::UTCTimeZone());
}

absl::Time At(const std::string& text, const absl::TimeZone& zone) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M:%E*S", text, zone, &time, &error)) << text << ": " << error;
  return time;
}

// The next firings, local time with its offset.
std::vector<std::string> Firings(std::string_view cron_text, const std::string& after, std::string_view zone_name,
                                 int count, const char* format = "%Y-%m-%d %H:%M:%S %z") {
  const absl::TimeZone zone = Zone(zone_name);
  const auto cron = Cron::Parse(cron_text);
  EXPECT_TRUE(cron.ok()) << cron_text << ": " << cron.status();
  std::vector<std::string> out;
  if (!cron.ok()) return out;
  absl::Time time = At(after, zone);
  for (int i = 0; i < count; ++i) {
    const auto next = cron->Next(time, zone);
    if (!next) {
      out.push_back("none");
      break;
    }
    time = *next;
    out.push_back(absl::FormatTime(format, time, zone));
  }
  return out;
}

std::vector<std::string> FiringsUtc(std::string_view cron, const std::string& after, int count) {
  return Firings(cron, after, "UTC", count, "%a %Y-%m-%d %H:%M:%S");
}

std::string ProblemOf(std::string_view text) {
  const auto cron = Cron::Parse(text);
  return cron.ok() ? "valid" : std::string(cron.status().message());
}

TEST(CronTest, FiveFieldsMeanWholeMinutes) {
  EXPECT_THAT(FiringsUtc("30 2 * * *", "2026-01-31 02:30:00", 2),
              ElementsAre("Sun 2026-02-01 02:30:00", "Mon 2026-02-02 02:30:00"));
  EXPECT_THAT(FiringsUtc("*/15 * * * *", "2026-01-31 23:44:59.5", 3),
              ElementsAre("Sat 2026-01-31 23:45:00", "Sun 2026-02-01 00:00:00", "Sun 2026-02-01 00:15:00"));
  EXPECT_THAT(FiringsUtc("0 0 1 1 *", "2026-01-01 00:00:00", 1), ElementsAre("Fri 2027-01-01 00:00:00"));
}

TEST(CronTest, ASixthFieldComesFirstAndIsTheSecond) {
  EXPECT_THAT(FiringsUtc("*/20 59 23 31 12 *", "2026-12-31 23:59:19", 4),
              ElementsAre("Thu 2026-12-31 23:59:20", "Thu 2026-12-31 23:59:40", "Fri 2027-12-31 23:59:00",
                          "Fri 2027-12-31 23:59:20"));
  EXPECT_THAT(FiringsUtc("5 4 3 * * *", "2026-01-01 03:04:04.999999", 2),
              ElementsAre("Thu 2026-01-01 03:04:05", "Fri 2026-01-02 03:04:05"));
  // Seconds, minutes and hours that carry.
  EXPECT_THAT(FiringsUtc("10 5 1 * * *", "2026-01-01 01:05:10", 1), ElementsAre("Fri 2026-01-02 01:05:10"));
  EXPECT_THAT(FiringsUtc("10,30 5,7 1 * * *", "2026-01-01 01:05:30", 3),
              ElementsAre("Thu 2026-01-01 01:07:10", "Thu 2026-01-01 01:07:30", "Fri 2026-01-02 01:05:10"));
  EXPECT_THAT(FiringsUtc("0 0 0 * * *", "2026-12-31 23:59:59", 1), ElementsAre("Fri 2027-01-01 00:00:00"));
}

TEST(CronTest, ListsRangesStepsAndNames) {
  EXPECT_THAT(FiringsUtc("0 8-10,14/5 * * *", "2026-01-01 00:00:00", 6),
              ElementsAre("Thu 2026-01-01 08:00:00", "Thu 2026-01-01 09:00:00", "Thu 2026-01-01 10:00:00",
                          "Thu 2026-01-01 14:00:00", "Thu 2026-01-01 19:00:00", "Fri 2026-01-02 08:00:00"));
  EXPECT_THAT(FiringsUtc("0 0 * mar-may Mon,fri", "2026-05-28 00:00:00", 3),
              ElementsAre("Fri 2026-05-29 00:00:00", "Mon 2027-03-01 00:00:00", "Fri 2027-03-05 00:00:00"));
  EXPECT_THAT(FiringsUtc("0 12-20/4\t* *  *", "2026-01-01 00:00:00", 3),
              ElementsAre("Thu 2026-01-01 12:00:00", "Thu 2026-01-01 16:00:00", "Thu 2026-01-01 20:00:00"));
}

TEST(CronTest, SundayIsZeroAndSeven) {
  for (const char* text : {"0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "@weekly"}) {
    EXPECT_THAT(FiringsUtc(text, "2026-11-23 00:00:00", 2),
                ElementsAre("Sun 2026-11-29 00:00:00", "Sun 2026-12-06 00:00:00"))
        << text;
  }
  EXPECT_THAT(FiringsUtc("0 0 * * 5-7", "2026-11-23 00:00:00", 4),
              ElementsAre("Fri 2026-11-27 00:00:00", "Sat 2026-11-28 00:00:00", "Sun 2026-11-29 00:00:00",
                          "Fri 2026-12-04 00:00:00"));
}

TEST(CronTest, OneOfTwoRestrictedDayFieldsIsEnough) {
  // The 13th, and every Friday.
  EXPECT_THAT(FiringsUtc("0 0 13 * FRI", "2026-12-10 00:00:00", 3),
              ElementsAre("Fri 2026-12-11 00:00:00", "Sun 2026-12-13 00:00:00", "Fri 2026-12-18 00:00:00"));
  // A field that begins with * does not count as restricted: odd days that are Fridays.
  EXPECT_THAT(FiringsUtc("0 0 */2 * FRI", "2026-12-01 00:00:00", 2),
              ElementsAre("Fri 2026-12-11 00:00:00", "Fri 2026-12-25 00:00:00"));
}

TEST(CronTest, LIsTheLastDayOfTheMonth) {
  EXPECT_THAT(FiringsUtc("0 0 L * *", "2028-01-31 00:00:00", 3),
              ElementsAre("Tue 2028-02-29 00:00:00", "Fri 2028-03-31 00:00:00", "Sun 2028-04-30 00:00:00"));
  EXPECT_THAT(FiringsUtc("0 0 1,L 2 *", "2027-01-31 00:00:00", 3),
              ElementsAre("Mon 2027-02-01 00:00:00", "Sun 2027-02-28 00:00:00", "Tue 2028-02-01 00:00:00"));
}

TEST(CronTest, LeapDaysAreFoundHoweverRareTheyAre) {
  EXPECT_THAT(FiringsUtc("0 0 29 2 *", "2096-02-29 00:00:00", 1), ElementsAre("Fri 2104-02-29 00:00:00"));
  EXPECT_THAT(FiringsUtc("0 0 29 2 */7", "2088-02-29 00:00:00", 1), ElementsAre("Sun 2128-02-29 00:00:00"));
}

TEST(CronTest, ShortNames) {
  const std::pair<const char*, const char*> cases[] = {
      {"@hourly", "Mon 2026-11-23 13:00:00"},   {"@daily", "Tue 2026-11-24 00:00:00"},
      {"@midnight", "Tue 2026-11-24 00:00:00"}, {"@weekly", "Sun 2026-11-29 00:00:00"},
      {"@monthly", "Tue 2026-12-01 00:00:00"},  {"@yearly", "Fri 2027-01-01 00:00:00"},
      {"@Annually", "Fri 2027-01-01 00:00:00"}};
  for (const auto& [text, first] : cases) {
    EXPECT_THAT(FiringsUtc(text, "2026-11-23 12:30:00", 1), ElementsAre(first)) << text;
  }
}

TEST(CronTest, WhatIsNotValidIsRefusedWithWhatWouldBe) {
  EXPECT_EQ(ProblemOf("60 * * * *"),
            "minute \"60\" is not valid; valid are 0-59, a-b, *, each with /step, and lists a,b");
  EXPECT_THAT(ProblemOf("0 24 * * *"), HasSubstr("hour \"24\""));
  EXPECT_THAT(ProblemOf("0 0 0 * *"), HasSubstr("1-31 or L"));
  EXPECT_THAT(ProblemOf("0 0 * 13 *"), HasSubstr("1-12 or JAN-DEC"));
  EXPECT_THAT(ProblemOf("0 0 * * 8"), HasSubstr("0-7 or SUN-SAT"));
  EXPECT_THAT(ProblemOf("0 0 * * FRI-MON"), HasSubstr("write 5-7,0-1"));
  EXPECT_THAT(ProblemOf("*/0 * * * *"), HasSubstr("a step that is not 1 to 59"));
  EXPECT_THAT(ProblemOf("0 0 * *"), HasSubstr("has 4 fields"));
  EXPECT_THAT(ProblemOf(""), HasSubstr("has 0 fields"));
  EXPECT_THAT(ProblemOf("0 0 0 0 * * *"), HasSubstr("has 7 fields"));
  EXPECT_THAT(ProblemOf("@reboot"), HasSubstr("@hourly"));
  EXPECT_THAT(ProblemOf(std::string(1'000, '1')), HasSubstr("256"));
  for (const char* text :
       {"- * * * *", "1- * * * *", "-1 * * * *", "+1 * * * *", "1,,2 * * * *", ", * * * *", "/5 * * * *", "*/ * * * *",
        "*/-1 * * * *", "1-2-3 * * * *", "*/5/5 * * * *", "0x1 * * * *", "99999999999 * * * *", "* L * * *",
        "? * * * *", "0 0 LW * *", "0 0 * * 5L", "1.5 * * * *"}) {
    EXPECT_THAT(ProblemOf(text), HasSubstr("valid are")) << text;
  }
}

TEST(CronTest, WhatNeverFiresIsRefused) {
  for (const char* text : {"0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30,31 FEB *"}) {
    EXPECT_THAT(ProblemOf(text), HasSubstr("never fires")) << text;
  }
  EXPECT_EQ(ProblemOf("0 0 30 2 MON"), "valid");  // Mondays in February
  EXPECT_EQ(ProblemOf("0 0 29 2 *"), "valid");
}

// New York 2026: 02:00 EST becomes 03:00 EDT on March 8; 02:00 EDT becomes 01:00 EST on November 1.

TEST(CronTest, ATimeOfDayInAGapFiresAtTheFirstMomentAfterIt) {
  EXPECT_THAT(Firings("30 2 * * *", "2026-03-07 00:00:00", "America/New_York", 3),
              ElementsAre("2026-03-07 02:30:00 -0500", "2026-03-08 03:00:00 -0400", "2026-03-09 02:30:00 -0400"));
  // Several of them, and one at the moment after, fire once.
  EXPECT_THAT(Firings("0,30 2,3 * * *", "2026-03-08 00:00:00", "America/New_York", 3),
              ElementsAre("2026-03-08 03:00:00 -0400", "2026-03-08 03:30:00 -0400", "2026-03-09 02:00:00 -0400"));
  // A midnight that does not come: Beirut's clocks change at 00:00.
  EXPECT_THAT(Firings("@daily", "2026-03-28 12:00:00", "Asia/Beirut", 2),
              ElementsAre("2026-03-29 01:00:00 +0300", "2026-03-30 00:00:00 +0300"));
  // A day that does not come: Samoa went over the date line.
  EXPECT_THAT(Firings("0 12 * * *", "2011-12-29 00:00:00", "Pacific/Apia", 3),
              ElementsAre("2011-12-29 12:00:00 -1000", "2011-12-31 00:00:00 +1400", "2011-12-31 12:00:00 +1400"));
}

TEST(CronTest, ATimeOfDayThatComesTwiceFiresOnce) {
  EXPECT_THAT(Firings("30 1 * * *", "2026-10-31 12:00:00", "America/New_York", 2),
              ElementsAre("2026-11-01 01:30:00 -0400", "2026-11-02 01:30:00 -0500"));
  // Also when the question is asked during the second time.
  const absl::TimeZone zone = Zone("America/New_York");
  const absl::Time second_time = At("2026-11-01 01:30:00", zone) + absl::Minutes(50);
  EXPECT_EQ(absl::FormatTime("%d %H:%M %z", second_time, zone), "01 01:20 -0500");
  EXPECT_EQ(Cron::Parse("30 1 * * *")->Next(second_time, zone), At("2026-11-02 01:30:00", zone));
}

TEST(CronTest, ARhythmGoesOnWhenAnHourComesTwice) {
  EXPECT_THAT(Firings("*/30 * * * *", "2026-11-01 00:59:00", "America/New_York", 6),
              ElementsAre("2026-11-01 01:00:00 -0400", "2026-11-01 01:30:00 -0400", "2026-11-01 01:00:00 -0500",
                          "2026-11-01 01:30:00 -0500", "2026-11-01 02:00:00 -0500", "2026-11-01 02:30:00 -0500"));
}

TEST(CronTest, ARhythmHasNothingToDoInAnHourThatDoesNotCome) {
  EXPECT_THAT(Firings("*/30 * * * *", "2026-03-08 01:00:00", "America/New_York", 3),
              ElementsAre("2026-03-08 01:30:00 -0500", "2026-03-08 03:00:00 -0400", "2026-03-08 03:30:00 -0400"));
  EXPECT_THAT(Firings("30 * * * *", "2026-03-08 01:00:00", "America/New_York", 2),
              ElementsAre("2026-03-08 01:30:00 -0500", "2026-03-08 03:30:00 -0400"));
}

TEST(CronTest, ClocksMayChangeByHalfAnHour) {
  // Lord Howe: 02:00 +11 becomes 01:30 +10:30.
  EXPECT_THAT(Firings("*/20 * * * *", "2026-04-05 01:39:00", "Australia/Lord_Howe", 4),
              ElementsAre("2026-04-05 01:40:00 +1100", "2026-04-05 01:40:00 +1030", "2026-04-05 02:00:00 +1030",
                          "2026-04-05 02:20:00 +1030"));
  EXPECT_THAT(Firings("40 1 * * *", "2026-04-04 12:00:00", "Australia/Lord_Howe", 2),
              ElementsAre("2026-04-05 01:40:00 +1100", "2026-04-06 01:40:00 +1030"));
}

// Minute by minute through two changes of the clock: each local time of day once a day, each rhythm at every fitting
// minute.
TEST(CronTest, EveryMinuteOfAYearAgreesWithLookingAtTheClock) {
  const absl::TimeZone zone = Zone("Europe/Berlin");
  const auto rhythm = Cron::Parse("*/7 * * * *");
  const auto every_second_hour = Cron::Parse("10 */2 * * *");
  absl::Time expected_rhythm = absl::InfinitePast(), time = At("2026-01-01 00:00:00", zone);
  absl::Time next_rhythm = *rhythm->Next(time, zone);
  int times_of_day = 0;
  const absl::Time end = At("2027-01-01 00:00:00", zone);
  for (time += absl::Minutes(1); time < end; time += absl::Minutes(1)) {
    if (absl::ToCivilMinute(time, zone).minute() % 7 == 0) {
      expected_rhythm = time;
      ASSERT_EQ(next_rhythm, expected_rhythm) << time;
      next_rhythm = *rhythm->Next(time, zone);
    }
  }
  for (absl::Time at = At("2026-01-01 00:00:00", zone); (at = *every_second_hour->Next(at, zone)) < end;)
    ++times_of_day;
  EXPECT_EQ(times_of_day, 365 * 12);
}

TEST(CronTest, ThereIsAnEndOfTime) {
  EXPECT_THAT(FiringsUtc("0 0 31 12 *", "9999-12-30 00:00:00", 2), ElementsAre("Fri 9999-12-31 00:00:00", "none"));
}

TEST(CronTest, TimeZonesAreThoseOfTheDatabase) {
  EXPECT_TRUE(FindTimeZone("UTC").ok());
  EXPECT_TRUE(FindTimeZone("America/Argentina/Buenos_Aires").ok());
  EXPECT_TRUE(FindTimeZone("Etc/GMT+3").ok());
  for (const char* name : {"", "Mars/Base", "/etc/localtime", "../../../etc/localtime", "libc:localtime", "localtime",
                           "file:/etc/localtime", "zone.tab", "Europe/", "Europe"}) {
    const auto zone = FindTimeZone(name);
    ASSERT_FALSE(zone.ok()) << name;
    EXPECT_THAT(std::string(zone.status().message()), HasSubstr("Europe/Berlin")) << name;
  }
}

// What a fuzzer would do, in small: pieces of expressions put together.
TEST(CronTest, AnyTextIsRefusedOrKeepsItsOrder) {
  const std::vector<std::string> pieces = {"*",   "/",   "-",      ",",  " ",  "0", "1",  "7",  "59",   "31", "L",
                                           "MON", "FEB", "@daily", "99", "\t", "x", "2 ", "* ", "*/5 ", "0 "};
  std::mt19937 random(20'261'123);
  int valid = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (uint32_t n = random() % 10 + 1; n > 0; --n) text += pieces[random() % pieces.size()];
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    if (Cron::Parse(text).ok()) ++valid;
  }
  EXPECT_GT(valid, 100);
}

}  // namespace
}  // namespace penstock
