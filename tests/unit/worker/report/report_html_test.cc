#include "worker/handlers/report/report_html.h"

#include <expat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <set>
#include <sstream>
#include <string>

#include "tests/support/project_paths.h"
#include "worker/handlers/report/junit_reader.h"
#include "worker/handlers/report/report_model.h"

namespace penstock::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Report ReportOf(std::initializer_list<const char*> samples, const std::string& title) {
  ReportBuilder builder{ReportLimits()};
  for (const std::string name : samples) {
    const std::string text = ReadAll(SourcePath("tests/testdata/junit/" + name));
    JunitReader reader({.name = name, .encoding = "", .suite_filter = ""}, &builder);
    EXPECT_TRUE(reader.Feed(text).ok()) << name;
    EXPECT_TRUE(reader.Finish().ok()) << name;
  }
  Report report = builder.Build();
  report.title = title;
  report.documents = samples.size();
  report.generated_at = absl::FromUnixSeconds(1'800'000'000);
  return report;
}

// Every tag that the page contains, its attributes left out, each once.
std::string TagsOf(const std::string& page) {
  std::set<std::string> tags;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    tags.insert(page.substr(at + 1, page.find_first_of(" >\n", at) - at - 1));
  }
  std::string text;
  for (const std::string& tag : tags) {
    if (tag[0] != '/' && tag[0] != '!') text += tag + " ";
  }
  return text;
}

// Compares with tests/testdata/report/<name>, or writes it when PENSTOCK_REWRITE_GOLDEN is set.
void ExpectGolden(const std::string& name, const std::string& page) {
  const std::string path = SourcePath("tests/testdata/report/" + name);
  if (std::getenv("PENSTOCK_REWRITE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << page;
    return;
  }
  EXPECT_TRUE(page == ReadAll(path)) << "the page differs from " << path
                                     << "; look at it, then rewrite it with PENSTOCK_REWRITE_GOLDEN=1";
}

TEST(ReportHtmlTest, PageIsAsReviewed) {
  ExpectGolden("mixed.html", RenderHtml(ReportOf({"googletest.xml", "ctest.xml", "surefire.xml"}, "Nightly run")));
}

TEST(ReportHtmlTest, EqualReportsGiveEqualPages) {
  EXPECT_EQ(RenderHtml(ReportOf({"pytest.xml"}, "a")), RenderHtml(ReportOf({"pytest.xml"}, "a")));
}

TEST(ReportHtmlTest, HostileTextsStayTexts) {
  const std::string ordinary = RenderHtml(ReportOf({"googletest.xml", "surefire.xml"}, "Nightly run"));
  Report report = ReportOf({"hostile.xml"}, "</title><script>alert(0)</script>");
  report.suite_filter = "<script>alert(8)</script>";
  const std::string page = RenderHtml(report);
  // No tag that an ordinary page does not have, and no attribute but ours.
  EXPECT_EQ(TagsOf(page), TagsOf(ordinary));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("\" onmouseover")));
  EXPECT_THAT(page, Not(HasSubstr("\u202E")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(5)&lt;/script&gt;"));
  EXPECT_THAT(page, HasSubstr("&quot; onmouseover=&quot;alert(1)"));
}

TEST(ReportHtmlTest, EveryTagIsClosedInOrder) {
  for (const std::string& page : {RenderHtml(ReportOf({"googletest.xml", "ctest.xml", "nested.xml"}, "a")),
                                  RenderHtml(ReportOf({"hostile.xml"}, "b")), RenderHtml(ReportOf({}, "c"))}) {
    // As XML, with the void elements of the head taken out and the style sheet, which holds no tag, as text.
    std::string body = page.substr(page.find("<body>"));
    body.erase(body.find("</html>"));
    XML_Parser parser = XML_ParserCreate("UTF-8");
    const int size = static_cast<int>(body.size());
    EXPECT_EQ(XML_Parse(parser, body.data(), size, 1), XML_STATUS_OK)
        << XML_ErrorString(XML_GetErrorCode(parser)) << " in line " << XML_GetCurrentLineNumber(parser) << " of\n"
        << body;
    XML_ParserFree(parser);
  }
}

TEST(ReportHtmlTest, VerdictSaysWhatMatters) {
  EXPECT_THAT(RenderHtml(ReportOf({}, "a")), HasSubstr(">No tests</p>"));
  EXPECT_THAT(RenderHtml(ReportOf({"googletest.xml"}, "a")), HasSubstr(">2 failed</p>"));
  Report report = ReportOf({}, "a");
  report.totals.tests = report.totals.skipped = 1;
  EXPECT_THAT(RenderHtml(report), HasSubstr(">No test ran</p>"));
  report.totals.tests = 2;
  report.totals.passed = 1;
  EXPECT_THAT(RenderHtml(report), HasSubstr(">All passed</p>"));
}

TEST(ReportHtmlTest, PageNeedsNothingFromElsewhere) {
  const std::string page = RenderHtml(ReportOf({"googletest.xml", "ctest.xml"}, "a"));
  for (const char* outside : {"http://", "https://", "src=", "href=", "url(", "@import"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside))) << outside;
  }
}

TEST(ReportHtmlTest, WhatIsLeftOutIsSaid) {
  ReportLimits limits;
  limits.failures = 2;
  limits.suites = 1;
  ReportBuilder builder(limits);
  for (int i = 0; i < 5; ++i) {
    TestCase test;
    test.suite = "s" + std::to_string(i / 2);
    test.name = "t" + std::to_string(i);
    test.outcome = CaseOutcome::kFailed;
    builder.Add(std::move(test));
  }
  const std::string page = RenderHtml(builder.Build());
  EXPECT_THAT(page, HasSubstr("The first 2 are shown; 3 more are not."));
  EXPECT_THAT(page, HasSubstr("2 further suites are not shown: 3 tests, 3 failed."));
}

}  // namespace
}  // namespace penstock::report
