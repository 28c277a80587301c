#include "worker/handlers/report/junit_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "common/text.h"
#include "fmt/format.h"
#include "tests/support/project_paths.h"
#include "worker/handlers/report/report_model.h"

namespace penstock::report {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Sample(const std::string& name) {
  std::ifstream file(SourcePath("tests/testdata/junit/" + name), std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

absl::Status ReadInto(ReportBuilder* builder, const std::string& name, const std::string& text, size_t piece_size,
                      const std::string& suite = "") {
  JunitReader reader({.name = name, .encoding = "", .suite_filter = suite}, builder);
  for (size_t begin = 0; begin < text.size(); begin += piece_size) {
    const absl::Status status = reader.Feed(std::string_view(text).substr(begin, piece_size));
    if (!status.ok()) return status;
  }
  return reader.Finish();
}

std::string InLine(std::string text) {
  size_t at = 0;
  while ((at = text.find('\n', at)) != std::string::npos) text.replace(at, 1, "|");
  return text;
}

std::string Print(const Totals& totals) {
  return fmt::format("{} tests, {} passed, {} failed, {} errors, {} skipped, {:.3f} s", totals.tests, totals.passed,
                     totals.failures, totals.errors, totals.skipped, absl::ToDoubleSeconds(totals.time));
}

std::string Print(const Report& report) {
  std::string text = Print(report.totals) + "\n";
  for (const Suite& suite : report.suites) text += fmt::format("suite {}: {}\n", suite.name, Print(suite.totals));
  for (const TestCase& test : report.failures) {
    text += fmt::format("{} {} [{}] {} ({}): {} -- {}\n", test.outcome == CaseOutcome::kError ? "error" : "failed",
                        test.name, test.class_name, test.location, test.error_type, InLine(test.message),
                        InLine(test.detail));
  }
  for (const TestCase& test : report.skipped) text += fmt::format("skipped {}: {}\n", test.name, InLine(test.message));
  return text;
}

std::string ReadSample(const std::string& name, const std::string& suite = "") {
  ReportBuilder builder{ReportLimits()};
  const absl::Status status = ReadInto(&builder, name, Sample(name), 1 << 16, suite);
  return status.ok() ? Print(builder.Build()) : status.ToString();
}

// The error of a document that is broken.
std::string Broken(const std::string& text) {
  ReportBuilder builder{ReportLimits()};
  const absl::Status status = ReadInto(&builder, "a.xml", text, 1 << 16);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 200);
  return std::string(ToStd(status.message()));
}

TEST(JunitReaderTest, ReadsGoogleTest) {
  EXPECT_EQ(ReadSample("googletest.xml"),
            "9 tests, 5 passed, 2 failed, 0 errors, 2 skipped, 0.000 s\n"
            "suite QueueTest: 3 tests, 1 passed, 1 failed, 0 errors, 1 skipped, 0.000 s\n"
            "suite LeaseTest: 3 tests, 1 passed, 1 failed, 0 errors, 1 skipped, 0.000 s\n"
            "suite Sizes/Many: 3 tests, 3 passed, 0 failed, 0 errors, 0 skipped, 0.000 s\n"
            "failed RefusesWhatIsTooLarge [QueueTest] g.cc:4 (): g.cc:4|Expected equality of these values:|"
            "  std::string(\"a<b>&\\\"c\\\"\")|    Which is: \"a<b>&\\\"c\\\"\"|  \"x\"|size was 5 & limit <4> -- "
            "g.cc:4|Expected equality of these values:|"
            "  std::string(\"a<b>&\\\"c\\\"\")|    Which is: \"a<b>&\\\"c\\\"\"|  \"x\"|size was 5 & limit <4>||"
            "g.cc:4|Value of: false|  Actual: false|Expected: true\n"
            "failed Throws [LeaseTest] g.cc:7 (): unknown file|C++ exception with description \"no lease\" thrown in "
            "the test body. -- unknown file|C++ exception with description \"no lease\" thrown in the test body.\n"
            "skipped DISABLED_WaitsForever: not run\n"
            "skipped Expires: g.cc:6|needs a clock\n");
}

TEST(JunitReaderTest, ReadsCtest) {
  EXPECT_EQ(ReadSample("ctest.xml"),
            "7 tests, 1 passed, 3 failed, 1 errors, 2 skipped, 1.008 s\n"
            "suite ctest.xml: 7 tests, 1 passed, 3 failed, 1 errors, 2 skipped, 1.008 s\n"
            "failed broken_test [broken_test]  ():  -- expected <3> & got 4\n"
            "error missing_test [missing_test]  (not run): Unable to find executable -- "
            "Unable to find executable: /nonexistent/program\n"
            "failed slow_test [slow_test]  ():  -- \n"
            "failed crash_test [crash_test]  ():  -- \n"
            "skipped disabled_test: disabled\n"
            "skipped skipped_test: SKIP_RETURN_CODE=77\n");
}

TEST(JunitReaderTest, ReadsPytestWithModulesAsSuites) {
  const std::string report = ReadSample("pytest.xml");
  EXPECT_THAT(report,
              StartsWith("8 tests, 3 passed, 1 failed, 2 errors, 2 skipped, 0.001 s\n"
                         "suite test_mail: 6 tests, 1 passed, 1 failed, 2 errors, 2 skipped, 0.001 s\n"
                         "suite test_mail.TestGroup: 2 tests, 2 passed, 0 failed, 0 errors, 0 skipped, 0.000 s\n"
                         "failed test_counts [test_mail]  (): AssertionError: two & not three|assert 2 == 3|"));
  EXPECT_THAT(report, HasSubstr("error test_needs [test_mail]  (): failed on setup with \"RuntimeError: fixture fell"));
  EXPECT_THAT(report, EndsWith("skipped test_server: no server\nskipped test_known: known\n"));
}

TEST(JunitReaderTest, ReadsSurefire) {
  EXPECT_EQ(ReadSample("surefire.xml"),
            "6 tests, 3 passed, 1 failed, 1 errors, 1 skipped, 1236.042 s\n"
            "suite org.example.LedgerTest: 6 tests, 3 passed, 1 failed, 1 errors, 1 skipped, 1236.042 s\n"
            "failed refusesNegative [org.example.LedgerTest]  (org.opentest4j.AssertionFailedError): "
            "expected: <0> but was: <-1> -- org.opentest4j.AssertionFailedError: expected: <0> but was: <-1>|"
            "\tat org.example.LedgerTest.refusesNegative(LedgerTest.java:42)\n"
            "error reopens [org.example.LedgerTest]  (java.io.IOException): disk gone -- "
            "java.io.IOException: disk gone|\tat org.example.Ledger.reopen(Ledger.java:17)\n"
            "skipped exports: no printer\n");
}

TEST(JunitReaderTest, NestedSuitesAreNamedFromTheOutermost) {
  EXPECT_EQ(ReadSample("nested.xml"),
            "4 tests, 3 passed, 0 failed, 1 errors, 0 skipped, 1.750 s\n"
            "suite Rechnung / Steuer: 1 tests, 1 passed, 0 failed, 0 errors, 0 skipped, 0.250 s\n"
            "suite Rechnung / Steuer / EU: 1 tests, 1 passed, 0 failed, 0 errors, 0 skipped, 0.500 s\n"
            "suite Rechnung: 1 tests, 1 passed, 0 failed, 0 errors, 0 skipped, 1.000 s\n"
            "suite Lager: 1 tests, 0 passed, 0 failed, 1 errors, 0 skipped, 0.000 s\n"
            "error (suite) []  (SetupError): no connection -- could not set the suite up\n");
}

TEST(JunitReaderTest, Latin1BecomesUtf8) {
  ReportBuilder builder{ReportLimits()};
  ASSERT_TRUE(ReadInto(&builder, "n", Sample("nested.xml"), 3).ok());
  const Report report = builder.Build();
  ASSERT_EQ(report.slowest.size(), 3u);
  EXPECT_EQ(report.slowest[2].name, "rundet kaufm\u00e4nnisch");
}

TEST(JunitReaderTest, FilterTakesASuiteWithAllInIt) {
  EXPECT_THAT(ReadSample("nested.xml", "Steuer"), StartsWith("2 tests, 2 passed"));
  EXPECT_THAT(ReadSample("nested.xml", "Rechnung / Steuer"), StartsWith("1 tests, 1 passed"));
  EXPECT_THAT(ReadSample("googletest.xml", "LeaseTest"), StartsWith("3 tests, 1 passed, 1 failed"));
  EXPECT_THAT(ReadSample("pytest.xml", "test_mail.TestGroup"), StartsWith("2 tests, 2 passed"));
  EXPECT_THAT(ReadSample("pytest.xml", "pytest"), StartsWith("8 tests"));
  EXPECT_THAT(ReadSample("pytest.xml", "nothing"), StartsWith("0 tests"));
}

TEST(JunitReaderTest, PiecesMayBeCutAnywhere) {
  for (const char* name : {"googletest.xml", "ctest.xml", "pytest.xml", "surefire.xml", "nested.xml", "hostile.xml"}) {
    ReportBuilder whole{ReportLimits()}, bytes{ReportLimits()};
    ASSERT_TRUE(ReadInto(&whole, name, Sample(name), SIZE_MAX / 2).ok());
    ASSERT_TRUE(ReadInto(&bytes, name, Sample(name), 1).ok());
    EXPECT_EQ(Print(whole.Build()), Print(bytes.Build())) << name;
  }
}

TEST(JunitReaderTest, BrokenXmlIsToldWithThePosition) {
  EXPECT_EQ(Broken("<testsuites>\n  <testsuite>\n  </testcase>\n"), "a.xml:3:5: mismatched tag");
  EXPECT_EQ(Broken("<testsuites>\n <testsuite name=\"a\""), "a.xml:2:2: unclosed token");
  EXPECT_EQ(Broken("<testsuites>\n"), "a.xml:2:1: no element found");
  EXPECT_EQ(Broken(""), "a.xml:1:1: no element found");
  EXPECT_EQ(Broken("tests: 4\n"), "a.xml:1:1: syntax error");
  EXPECT_EQ(Broken("<testsuites/>\n<testsuites/>"), "a.xml:2:1: junk after document element");
  EXPECT_EQ(Broken("<testsuites a='1' a='2'/>"), "a.xml:1:19: duplicate attribute");
  EXPECT_EQ(Broken("<testsuite>\xff</testsuite>"), "a.xml:1:12: not well-formed (invalid token)");
  EXPECT_EQ(Broken("<testsuite>&bomb;</testsuite>"), "a.xml:1:12: undefined entity");
  EXPECT_THAT(Broken("<?xml version='1.0' encoding='klingon'?><testsuite/>"), HasSubstr("unknown encoding"));
}

TEST(JunitReaderTest, OtherXmlIsRefused) {
  EXPECT_EQ(Broken("<html><body/></html>"),
            "a.xml:1:1: this is no JUnit XML: the root element is <html> instead of <testsuites> or <testsuite>");
  EXPECT_THAT(Broken("<testcase name='a'/>"), HasSubstr("no JUnit XML"));
  EXPECT_THAT(Broken("<testsuite><testcase><testcase/></testcase></testsuite>"), HasSubstr("inside a <testcase>"));
}

TEST(JunitReaderTest, DoctypeIsRefusedSoThatEntitiesCannotMultiply) {
  EXPECT_EQ(Broken("<?xml version='1.0'?>\n<!DOCTYPE testsuites [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>\n"
                   "<testsuites>&b;</testsuites>"),
            "a.xml:2:22: a DOCTYPE is not allowed in JUnit XML");
  EXPECT_THAT(Broken("<!DOCTYPE t [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><testsuite>&x;</testsuite>"),
              HasSubstr("a DOCTYPE is not allowed"));
}

TEST(JunitReaderTest, DepthIsLimited) {
  std::string text;
  for (int i = 0; i < JunitReader::kDepthMax; ++i) text += "<testsuite>";
  std::string closed = text;
  for (int i = 0; i < JunitReader::kDepthMax; ++i) closed += "</testsuite>";
  ReportBuilder builder{ReportLimits()};
  EXPECT_TRUE(ReadInto(&builder, "a", closed, 4096).ok());
  EXPECT_THAT(Broken(text + "<testsuite>"), EndsWith("elements are nested deeper than 100"));
}

TEST(JunitReaderTest, EndlessTagIsRefusedWithoutKeepingIt) {
  ReportBuilder builder{ReportLimits()};
  JunitReader reader({.name = "a.xml", .encoding = "", .suite_filter = ""}, &builder);
  ASSERT_TRUE(reader.Feed("<testsuite><testcase name=\"").ok());
  const std::string piece(1 << 20, 'x');
  absl::Status status;
  size_t fed = 0;
  while (status.ok() && fed < 4 * JunitReader::kTagBytesMax) {
    status = reader.Feed(piece);
    fed += piece.size();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ToStd(status.message())), HasSubstr("a tag or comment is longer than 8 MiB"));
  EXPECT_LE(fed, 2 * JunitReader::kTagBytesMax + piece.size());
}

TEST(JunitReaderTest, LongTagIsRead) {
  ReportBuilder builder{ReportLimits()};
  const std::string text = "<testsuite name='s'><testcase name='t'><failure message='" +
                           std::string(JunitReader::kTagBytesMax - 100, 'x') + "'/></testcase></testsuite>";
  ASSERT_TRUE(ReadInto(&builder, "a.xml", text, 64 << 10).ok());
  const Report report = builder.Build();
  ASSERT_EQ(report.failures.size(), 1u);
  EXPECT_LE(report.failures[0].message.size(), builder.limits().message_bytes + 64);
}

TEST(JunitReaderTest, LongTextsAreReadWithoutLimitAndKeptInPart) {
  ReportBuilder builder{ReportLimits()};
  JunitReader reader({.name = "a.xml", .encoding = "", .suite_filter = ""}, &builder);
  ASSERT_TRUE(reader.Feed("<testsuite name='s'><testcase name='t'><failure>begin ").ok());
  const std::string piece(1 << 20, 'x');
  for (int i = 0; i < 32; ++i) ASSERT_TRUE(reader.Feed(piece).ok());
  ASSERT_TRUE(reader.Feed(" end</failure></testcase></testsuite>").ok());
  ASSERT_TRUE(reader.Finish().ok());
  const Report report = builder.Build();
  ASSERT_EQ(report.failures.size(), 1u);
  EXPECT_LE(report.failures[0].detail.size(), builder.limits().detail_bytes + 64);
  EXPECT_THAT(report.failures[0].detail, StartsWith("begin xxx"));
  EXPECT_THAT(report.failures[0].detail, HasSubstr(" bytes left out "));
  EXPECT_THAT(report.failures[0].detail, EndsWith("xxx end"));
}

// 200,000 test cases through a pipe: what is kept does not depend on how many passed.
TEST(JunitReaderTest, HugeDocumentIsStreamed) {
  constexpr int kSuites = 2'000, kCases = 100;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread writer([&] {
    const auto put = [&](std::string_view text) {
      while (!text.empty()) {
        const ssize_t written = write(ends[1], text.data(), text.size());
        if (written <= 0) break;
        text.remove_prefix(static_cast<size_t>(written));
      }
    };
    put("<testsuites>");
    for (int s = 0; s < kSuites; ++s) {
      std::string text = fmt::format("<testsuite name=\"Suite{}\">", s);
      for (int c = 0; c < kCases; ++c) {
        text += fmt::format("<testcase name=\"case{}\" time=\"0.{:03}\">", c, (s + c) % 1000);
        if (c == 7) text += "<failure message=\"wrong\">at line 1</failure>";
        if (c == 8) text += "<skipped/>";
        text += "<system-out>some output of the test</system-out></testcase>\n";
      }
      put(text + "</testsuite>");
    }
    put("</testsuites>");
    close(ends[1]);
  });
  ReportBuilder builder{ReportLimits()};
  JunitReader reader({.name = "pipe", .encoding = "", .suite_filter = ""}, &builder);
  absl::Status status;
  std::string buffer(64 << 10, '\0');
  ssize_t size;
  while ((size = read(ends[0], buffer.data(), buffer.size())) > 0) {
    if (status.ok()) status = reader.Feed(std::string_view(buffer).substr(0, static_cast<size_t>(size)));
  }
  writer.join();
  close(ends[0]);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(reader.Finish().ok());

  const Report report = builder.Build();
  const ReportLimits limits;
  EXPECT_EQ(report.totals.tests, 200'000u);
  EXPECT_EQ(report.totals.failures, 2'000u);
  EXPECT_EQ(report.totals.skipped, 2'000u);
  EXPECT_EQ(report.totals.passed, 196'000u);
  EXPECT_EQ(report.suites.size(), limits.suites);
  EXPECT_EQ(report.suites_left_out, kSuites - limits.suites);
  EXPECT_EQ(report.left_out_totals.tests, 100'000u);
  EXPECT_EQ(report.failures.size(), limits.failures);
  EXPECT_EQ(report.skipped.size(), limits.skipped);
  ASSERT_EQ(report.slowest.size(), limits.slowest);
  EXPECT_EQ(report.slowest[0].time, absl::Milliseconds(999));
  EXPECT_EQ(report.slowest[0].suite, "Suite900");  // The first of equal ones.
}

TEST(ParseCaseTimeTest, ReadsWhatTheDialectsWrite) {
  const auto seconds = [](std::string_view text) { return absl::ToDoubleSeconds(ParseCaseTime(text)); };
  EXPECT_DOUBLE_EQ(seconds("0.001"), 0.001);
  EXPECT_DOUBLE_EQ(seconds("12"), 12);
  EXPECT_DOUBLE_EQ(seconds(" 1.5\n"), 1.5);
  EXPECT_DOUBLE_EQ(seconds("1e-3"), 0.001);
  EXPECT_DOUBLE_EQ(seconds("1,234.5"), 1234.5);
  EXPECT_DOUBLE_EQ(seconds("1,234,567.5"), 1234567.5);
  EXPECT_DOUBLE_EQ(seconds("1,234"), 1234);
  EXPECT_DOUBLE_EQ(seconds("0,234"), 0.234);
  EXPECT_DOUBLE_EQ(seconds("1,5"), 1.5);
  EXPECT_DOUBLE_EQ(seconds("1e300"), 1e9);
  for (const char* text : {"", "-1", "nan", "inf", "1.2.3", "abc", "1,2,3", ",", "0x10", "3s"}) {
    EXPECT_EQ(ParseCaseTime(text), absl::ZeroDuration()) << text;
  }
}

}  // namespace
}  // namespace penstock::report
