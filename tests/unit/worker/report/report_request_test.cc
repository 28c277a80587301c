#include "worker/handlers/report/report_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/text.h"

namespace penstock::report {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

std::string Refusal(std::string_view json) {
  const absl::StatusOr<ReportRequest> request = ParseReportRequest(json);
  EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument) << json;
  return std::string(ToStd(request.status().message()));
}

TEST(ReportRequestTest, ReadsEveryField) {
  const absl::StatusOr<ReportRequest> request = ParseReportRequest(
      R"({"title":"T","files":["/a.xml","/b.xml"],"inline":["<x/>"],"suite":"S","output":"/out/r.html"})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->title, "T");
  EXPECT_EQ(request->files, (std::vector<std::string>{"/a.xml", "/b.xml"}));
  EXPECT_EQ(request->inline_documents, (std::vector<std::string>{"<x/>"}));
  EXPECT_EQ(request->suite, "S");
  EXPECT_EQ(request->OutputPath(), "/out/r.html");
}

TEST(ReportRequestTest, WrongFieldsAreNamed) {
  EXPECT_THAT(Refusal(""), StartsWith("payload: is no valid JSON: "));
  EXPECT_THAT(Refusal("{\"title\":\xff}"), StartsWith("payload: is no valid JSON: "));
  EXPECT_EQ(Refusal("[]"), "payload: must be a JSON object, not array");
  EXPECT_EQ(Refusal(R"({"tite":1})"), "tite: unknown field; known are title, files, inline, suite, output");
  EXPECT_EQ(Refusal(R"({"title":1})"), "title: must be a string, not number");
  EXPECT_EQ(Refusal(R"({"title":")" + std::string(257, 'x') + "\"}"), "title: must have at most 256 bytes");
  EXPECT_EQ(Refusal(R"({"files":"/a"})"), "files: must be a list of strings, not string");
  EXPECT_EQ(Refusal(R"({"files":["/a",7]})"), "files[1]: must be a string, not number");
  EXPECT_EQ(Refusal(R"({"files":["a.xml"]})"), "files[0]: must be an absolute path, not 'a.xml'");
  EXPECT_EQ(Refusal(R"({"files":["/a\u0000b"]})"), "files[0]: must not contain a zero byte");
  EXPECT_THAT(Refusal(R"({"output":"/o"})"), StartsWith("files: name at least one"));
  EXPECT_THAT(Refusal(R"({"files":["/a"]})"), StartsWith("output: is required"));
  EXPECT_THAT(Refusal(R"({"files":["/a"],"output":"out"})"), StartsWith("output: must be an absolute path"));
}

TEST(ReportRequestTest, FileNameInAFolderIsMadeOfTheTitle) {
  const auto name = [](const std::string& title) {
    ReportRequest request;
    request.title = title;
    request.output = "/out";
    return request.OutputPath();
  };
  EXPECT_EQ(name("Nightly run"), "/out/Nightly-run.html");
  EXPECT_EQ(name("LeaseTest"), "/out/LeaseTest.html");
  EXPECT_THAT(name("Sizes/Many"), MatchesRegex("/out/Sizes-Many-[0-9a-f]{8}\\.html"));
  EXPECT_THAT(name("../../etc"), MatchesRegex("/out/etc-[0-9a-f]{8}\\.html"));
  EXPECT_THAT(name("测试"), MatchesRegex("/out/report-[0-9a-f]{8}\\.html"));
  EXPECT_NE(name("测试"), name("报告"));
}

TEST(ReportRequestTest, TitleDefaultsToTheSuite) {
  EXPECT_EQ(ParseReportRequest(R"({"files":["/a"],"output":"/o","suite":"S"})")->title, "S");
  EXPECT_EQ(ParseReportRequest(R"({"files":["/a"],"output":"/o/"})")->OutputPath(), "/o/Test-report.html");
}

TEST(ReportOptionsTest, FoldersAreRead) {
  EXPECT_TRUE(ParseReportOptions("{}")->folders.empty());
  EXPECT_EQ(ParseReportOptions(R"({"folders":["/srv"]})")->folders, (std::vector<std::string>{"/srv"}));
  EXPECT_EQ(ToStd(ParseReportOptions(R"({"folders":["srv"]})").status().message()),
            "folders[0]: must be an absolute path, not 'srv'");
  EXPECT_EQ(ToStd(ParseReportOptions(R"({"folder":[]})").status().message()),
            "folder: unknown field; known are folders");
}

}  // namespace
}  // namespace penstock::report
