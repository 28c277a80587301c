#include "common/units.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using testing::HasSubstr;

TEST(UnitsTest, DurationsAreRead) {
  const std::pair<const char*, absl::Duration> cases[] = {
      {"0", absl::ZeroDuration()},        {"250ms", absl::Milliseconds(250)}, {"30s", absl::Seconds(30)},
      {"1h30m", absl::Minutes(90)},       {"7d", absl::Hours(168)},           {"1d12h", absl::Hours(36)},
      {"1.5s", absl::Milliseconds(1'500)}};
  for (const auto& [text, duration] : cases) {
    const auto parsed = ParseDuration(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(*parsed, duration) << text;
  }
}

TEST(UnitsTest, WhatIsNoDurationIsRefusedWithExamples) {
  for (const char* text : {"", "abc", "30", "30 s", "-5s", "-1d", "d", "1d2", "inf", "99999999d", "1x"}) {
    const auto parsed = ParseDuration(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("1h30m")) << text;
  }
}

TEST(UnitsTest, SizesAreRead) {
  const std::pair<const char*, uint64_t> cases[] = {{"0", 0},
                                                    {"4096", 4096},
                                                    {"17 B", 17},
                                                    {"64KiB", 65'536},
                                                    {"1 MiB", 1'048'576},
                                                    {"2GiB", uint64_t{2} << 30},
                                                    {"1GB", 1'000'000'000},
                                                    {"1 TiB", uint64_t{1} << 40}};
  for (const auto& [text, size] : cases) {
    const auto parsed = ParseSize(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(*parsed, size) << text;
  }
}

TEST(UnitsTest, WhatIsNoSizeIsRefusedWithExamples) {
  for (const char* text :
       {"", "MiB", "-1", "1.5MiB", "1  MiB", "1mib", "1 x", "99999999999999999999", "18446744073709551615 KiB"}) {
    const auto parsed = ParseSize(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("64KiB")) << text;
  }
}

TEST(UnitsTest, PeopleReadTwoUnitsAndThreeDigits) {
  EXPECT_EQ(penstock::FormatDuration(absl::ZeroDuration()), "0s");
  EXPECT_EQ(penstock::FormatDuration(absl::Milliseconds(350)), "350ms");
  EXPECT_EQ(penstock::FormatDuration(absl::Milliseconds(1'500)), "1.5s");
  EXPECT_EQ(penstock::FormatDuration(absl::Seconds(125)), "2m 5s");
  EXPECT_EQ(penstock::FormatDuration(absl::Hours(27)), "1d 3h");
  EXPECT_EQ(penstock::FormatDuration(-absl::Seconds(30)), "-30s");
  EXPECT_EQ(penstock::FormatDuration(absl::Hours(24 * 36'525)), "36525d");
  EXPECT_EQ(penstock::FormatDuration(absl::InfiniteDuration()), "for ever");
  EXPECT_EQ(FormatSize(17), "17 B");
  EXPECT_EQ(FormatSize(65'536), "64 KiB");
  EXPECT_EQ(FormatSize(1'268'777), "1.21 MiB");
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1'234'567), "1,234,567");
}

}  // namespace
}  // namespace penstock
