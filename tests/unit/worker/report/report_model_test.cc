#include "worker/handlers/report/report_model.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::report {
namespace {

TEST(BoundedTextTest, ShortTextIsKeptWhole) {
  BoundedText text(10);
  text.Append("hello");
  text.Append("");
  text.Append("world");
  EXPECT_EQ(text.ToString(), "helloworld");
}

TEST(BoundedTextTest, BeginningAndEndOfALongTextAreKept) {
  BoundedText text(10);
  for (int i = 0; i < 26; ++i) text.Append(std::string(1, static_cast<char>('a' + i)));
  EXPECT_EQ(text.ToString(), "abcde\n… 16 bytes left out …\nvwxyz");
  text.Clear();
  EXPECT_TRUE(text.empty());
  text.Append("abcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(text.ToString(), "abcde\n… 16 bytes left out …\nvwxyz");
}

TEST(BoundedTextTest, CutsStandBetweenCharacters) {
  BoundedText text(10);
  for (int i = 0; i < 9; ++i) text.Append("€");  // three bytes each
  EXPECT_EQ(text.ToString(), "€\n… 21 bytes left out …\n€");
}

TEST(CutUtf8Test, NeverEndsWithinACharacter) {
  EXPECT_EQ(CutUtf8("a€b", 5), "a€b");
  EXPECT_EQ(CutUtf8("a€b", 4), "a€");
  EXPECT_EQ(CutUtf8("a€b", 3), "a");
  EXPECT_EQ(CutUtf8("a€b", 1), "a");
  EXPECT_EQ(CutUtf8("€", 2), "");
}

TEST(TotalsTest, PassRateLeavesSkippedTestsOut) {
  Totals totals;
  EXPECT_EQ(totals.pass_rate(), -1);
  totals.Add(CaseOutcome::kSkipped, absl::ZeroDuration());
  EXPECT_EQ(totals.pass_rate(), -1);
  totals.Add(CaseOutcome::kPassed, absl::Seconds(1));
  EXPECT_EQ(totals.pass_rate(), 1);
  totals.Add(CaseOutcome::kError, absl::Seconds(2));
  EXPECT_EQ(totals.pass_rate(), 0.5);
  EXPECT_EQ(totals.time, absl::Seconds(3));
}

TEST(ReportBuilderTest, SlowestAreOrderedAndEqualOnesStayInOrder) {
  ReportLimits limits;
  limits.slowest = 3;
  ReportBuilder builder(limits);
  for (const auto& [name, ms] : {std::pair("a", 5), {"b", 9}, {"c", 5}, {"d", 1}, {"e", 9}, {"f", 5}, {"g", 0}}) {
    TestCase test;
    test.name = name;
    test.time = absl::Milliseconds(ms);
    builder.Add(std::move(test));
  }
  std::string order;
  for (const TestCase& test : builder.Build().slowest) order += test.name;
  EXPECT_EQ(order, "bea");
}

TEST(ReportBuilderTest, LongNamesAreCut) {
  ReportLimits limits;
  limits.name_bytes = 4;
  ReportBuilder builder(limits);
  TestCase test;
  test.name = "abcdefgh";
  test.suite = "12345";
  test.outcome = CaseOutcome::kFailed;
  builder.Add(test);
  const Report report = builder.Build();
  EXPECT_EQ(report.failures[0].name, "abcd…");
  EXPECT_EQ(report.suites[0].name, "1234…");
}

TEST(DurationHistogramTest, EveryBucketBeginsWhereTheLastEnds) {
  DurationHistogram histogram;
  for (const absl::Duration time :
       {absl::ZeroDuration(), absl::Microseconds(999), absl::Milliseconds(1), absl::Milliseconds(99),
        absl::Milliseconds(100), absl::Seconds(59), absl::Minutes(1), absl::Minutes(10), absl::Hours(5)}) {
    histogram.Add(time);
  }
  EXPECT_EQ(histogram.counts, (std::array<uint64_t, 8>{2, 1, 1, 1, 0, 1, 1, 2}));
}

}  // namespace
}  // namespace penstock::report
