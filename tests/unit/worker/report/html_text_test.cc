#include "worker/handlers/report/html_text.h"

#include <gtest/gtest.h>

namespace penstock::report {
namespace {

TEST(EscapeHtmlTest, MarkupBecomesText) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\" id='y'>&amp;</a>"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;&lt;/a&gt;");
  EXPECT_EQ(EscapeHtml("tab\tline\r\nend"), "tab\tline\nend");
  EXPECT_EQ(EscapeHtml("Grüße €"), "Grüße €");
}

TEST(EscapeHtmlTest, ControlAndDirectionMarksBecomeVisible) {
  EXPECT_EQ(EscapeHtml(std::string_view("a\0b\x1b[0m\x7f", 8)), "a[U+0000]b[U+001B][0m[U+007F]");
  EXPECT_EQ(EscapeHtml("\u202Egnp.exe \u2066x\u2069 \u2026"), "[U+202E]gnp.exe [U+2066]x[U+2069] \u2026");
  EXPECT_EQ(EscapeHtml("\xE2\x80"), "\xE2\x80");
}

TEST(ShowTimeTest, HasThreeDigits) {
  EXPECT_EQ(ShowTime(absl::ZeroDuration()), "0 ms");
  EXPECT_EQ(ShowTime(absl::Microseconds(10)), "<0.1 ms");
  EXPECT_EQ(ShowTime(absl::Microseconds(440)), "0.4 ms");
  EXPECT_EQ(ShowTime(absl::Microseconds(9'960)), "10 ms");
  EXPECT_EQ(ShowTime(absl::Milliseconds(999)), "999 ms");
  EXPECT_EQ(ShowTime(absl::Microseconds(999'600)), "1.00 s");
  EXPECT_EQ(ShowTime(absl::Milliseconds(1'250)), "1.25 s");
  EXPECT_EQ(ShowTime(absl::Milliseconds(9'996)), "10.0 s");
  EXPECT_EQ(ShowTime(absl::Milliseconds(59'960)), "1 min 00 s");
  EXPECT_EQ(ShowTime(absl::Seconds(185)), "3 min 05 s");
  EXPECT_EQ(ShowTime(absl::Minutes(130)), "2 h 10 min");
}

TEST(ShowPercentTest, OnlyAllIsAHundred) {
  EXPECT_EQ(ShowPercent(1), "100 %");
  EXPECT_EQ(ShowPercent(0.99999), ">99.9 %");
  EXPECT_EQ(ShowPercent(0.973), "97.3 %");
  EXPECT_EQ(ShowPercent(0.00001), "<0.1 %");
  EXPECT_EQ(ShowPercent(0), "0 %");
}

TEST(OneLineTest, JoinsTheWordsAndLeavesOutWhere) {
  EXPECT_EQ(OneLine("\n\n  one\n\t two", 100), "one two");
  EXPECT_EQ(OneLine("a_test.cc:12\nExpected:\n  4", 100), "Expected: 4");
  EXPECT_EQ(OneLine("unknown file\nthrown", 100), "thrown");
  EXPECT_EQ(OneLine("a_test.cc:12", 100), "a_test.cc:12");
  EXPECT_EQ(OneLine("at noon: 12\nx", 100), "at noon: 12 x");
  EXPECT_EQ(OneLine("abcdef", 3), "abc …");
  EXPECT_EQ(OneLine("abc def", 3), "abc …");
  EXPECT_EQ(OneLine("abc", 3), "abc");
  EXPECT_EQ(OneLine(" \n", 3), "");
}

}  // namespace
}  // namespace penstock::report
