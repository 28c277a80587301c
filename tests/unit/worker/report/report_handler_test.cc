#include "worker/handlers/report/report_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "fmt/format.h"
#include "tests/support/project_paths.h"
#include "tests/unit/worker/report/fake_host.h"
#include "tests/unit/worker/report/temp_folder.h"

namespace penstock::report {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// All through the C ABI of the plug-in that is shipped.
class ReportHandlerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(host_.result(), 0) << host_.error(); }

  static std::string Sample(const std::string& name) { return SourcePath("tests/testdata/junit/" + name); }

  void Run(const json& payload, FakeRun* run) { RunText(payload.dump(), run); }
  void RunText(const std::string& payload, FakeRun* run) {
    FakeTask task;
    task.payload = payload;
    host_.Run(task, run);
    EXPECT_EQ(run->outcomes_told, 1);
  }
  // "outcome label: text"
  std::string Outcome(const json& payload) {
    FakeRun run;
    Run(payload, &run);
    return run.outcome + " " + run.label + ": " + run.text;
  }

  const FakeHost host_{REPORT_PLUGIN};
  const TempFolder folder_;
};

TEST_F(ReportHandlerTest, PluginTellsItsNameAndType) {
  EXPECT_EQ(host_.name(), "report");
  EXPECT_THAT(host_.types(), ElementsAre("report.generate"));
}

TEST_F(ReportHandlerTest, WritesThePageAndReturnsTheTotals) {
  FakeRun run;
  Run({{"title", "Nightly run"},
       {"files", {Sample("googletest.xml"), Sample("surefire.xml")}},
       {"output", folder_.path() + "/out"}},
      &run);
  ASSERT_EQ(run.outcome, "done") << run.text;
  EXPECT_EQ(run.label, "application/json");
  json result = json::parse(run.text);
  EXPECT_NEAR(result["seconds"].get<double>(), 1236.042, 1e-6);
  EXPECT_NEAR(result["pass_rate"].get<double>(), 8.0 / 12, 1e-9);
  result.erase("seconds");
  result.erase("pass_rate");
  EXPECT_EQ(result, (json{{"path", folder_.path() + "/out/Nightly-run.html"},
                          {"title", "Nightly run"},
                          {"tests", 15},
                          {"passed", 8},
                          {"failures", 3},
                          {"errors", 1},
                          {"skipped", 3},
                          {"suites", 4}}));
  const std::string page = folder_.Read("out/Nightly-run.html");
  EXPECT_THAT(page, StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(page, EndsWith("</html>\n"));
  EXPECT_THAT(page, HasSubstr("refusesNegative"));

  ASSERT_EQ(run.log.size(), 3u);
  EXPECT_EQ(run.log[0], "read " + Sample("googletest.xml") + ": 9 tests");
  EXPECT_EQ(run.log[1], "read " + Sample("surefire.xml") + ": 6 tests");
  EXPECT_THAT(run.log[2], StartsWith("wrote " + folder_.path() + "/out/Nightly-run.html"));
  double last = 0;
  for (const auto& [percent, text] : run.progress) {
    EXPECT_GE(percent, last);
    last = percent;
  }
  EXPECT_EQ(run.progress.back(), (std::pair<double, std::string>(100, "15 tests, 4 failed")));
}

TEST_F(ReportHandlerTest, InlineDocumentsAreReadAsUtf8) {
  const std::string xml =
      "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><testsuite name='Größe'><testcase name='a' "
      "time='1'/></testsuite>";
  FakeRun run;
  Run({{"inline", {xml}}, {"suite", "Größe"}, {"output", folder_.path() + "/r.html"}}, &run);
  ASSERT_EQ(run.outcome, "done") << run.text;
  EXPECT_EQ(json::parse(run.text)["tests"], 1);
  EXPECT_THAT(folder_.Read("r.html"), HasSubstr("Größe"));
}

TEST_F(ReportHandlerTest, RerunWritesTheSameFileAgain) {
  const json payload = {{"files", {Sample("ctest.xml")}}, {"output", folder_.path() + "/r.html"}};
  EXPECT_THAT(Outcome(payload), StartsWith("done"));
  EXPECT_THAT(Outcome(payload), StartsWith("done"));
  EXPECT_THAT(folder_.List(), ElementsAre("r.html"));
}

TEST_F(ReportHandlerTest, EqualInputAndTimeGiveEqualPages) {
  const ManualClock clock;
  std::string pages[2];
  for (std::string& page : pages) {
    const std::string payload =
        json({{"files", {Sample("pytest.xml")}}, {"output", folder_.path() + "/r.html"}}).dump();
    penstock_task view = {};
    view.struct_size = sizeof(view);
    view.payload = plugin::ToText(payload);
    FakeRun record;
    const penstock_run run = FakeHost::RunFunctions(&record);
    plugin::Task task(view, run);
    GenerateReport(ReportOptions(), clock, task).Tell(run);
    EXPECT_EQ(record.outcome, "done") << record.text;
    page = folder_.Read("r.html");
  }
  EXPECT_EQ(pages[0], pages[1]);
  EXPECT_THAT(pages[0], HasSubstr("2027-01-15 at 08:00 UTC"));
}

TEST_F(ReportHandlerTest, NoTestRanIsNoPassRate) {
  FakeRun run;
  Run({{"inline", {"<testsuites/>"}}, {"output", folder_.path() + "/r.html"}}, &run);
  ASSERT_EQ(run.outcome, "done") << run.text;
  EXPECT_TRUE(json::parse(run.text)["pass_rate"].is_null());
}

TEST_F(ReportHandlerTest, BrokenXmlIsRejectedWithThePosition) {
  const std::string path = folder_.Write("broken.xml", "<testsuites>\n  <testsuite name='a'>\n  </testsuites>\n");
  EXPECT_EQ(Outcome({{"files", {Sample("ctest.xml"), path}}, {"output", folder_.path() + "/r.html"}}),
            "reject xml: " + path + ":3:5: mismatched tag");
  EXPECT_EQ(Outcome({{"inline", {"<testsuite"}}, {"output", folder_.path() + "/r.html"}}),
            "reject xml: inline[0]:1:1: unclosed token");
  EXPECT_THAT(folder_.List(), ElementsAre("broken.xml"));
}

TEST_F(ReportHandlerTest, WrongPayloadIsRejectedWithTheField) {
  EXPECT_EQ(Outcome({{"files", {"a.xml"}}, {"output", "/tmp"}}),
            "reject payload: files[0]: must be an absolute path, not 'a.xml'");
  FakeRun run;
  RunText("no json", &run);
  EXPECT_EQ(run.outcome, "reject");
  EXPECT_THAT(run.text, StartsWith("payload: is no valid JSON"));
}

TEST_F(ReportHandlerTest, MissingFileIsRejectedBeforeAnythingIsRead) {
  FakeRun run;
  Run({{"files", {Sample("ctest.xml"), "/nonexistent/a.xml"}}, {"output", folder_.path()}}, &run);
  EXPECT_EQ(run.outcome + " " + run.label + ": " + run.text,
            "reject file: opening /nonexistent/a.xml: No such file or directory");
  EXPECT_TRUE(run.log.empty());
}

TEST_F(ReportHandlerTest, UnknownSuiteIsRejected) {
  EXPECT_EQ(Outcome({{"files", {Sample("ctest.xml")}}, {"suite", "none"}, {"output", folder_.path()}}),
            "reject suite: suite: no test case belongs to suite 'none'");
}

TEST_F(ReportHandlerTest, CancellationStopsTheReadingAndWritesNothing) {
  std::string xml = "<testsuite name='s'>";
  for (int i = 0; i < 50'000; ++i) xml += fmt::format("<testcase name='case{}'/>", i);
  const std::string path = folder_.Write("big.xml", xml + "</testsuite>");
  FakeRun run;
  // Cancelled once some of it was read.
  run.cancelled = [](const FakeRun& so_far) { return so_far.progress.size() >= 2; };
  Run({{"files", {path}}, {"output", folder_.path() + "/r.html"}}, &run);
  EXPECT_EQ(run.outcome, "retry");
  EXPECT_EQ(run.label, "cancelled");
  EXPECT_EQ(run.progress.size(), 2u);
  EXPECT_THAT(folder_.List(), ElementsAre("big.xml"));
}

TEST_F(ReportHandlerTest, ProgressIsReportedNoMoreThanOnceAPercent) {
  std::string xml = "<testsuite name='s'>";
  for (int i = 0; i < 400'000; ++i) xml += fmt::format("<testcase name='case number {}'/>", i);
  const std::string path = folder_.Write("big.xml", xml + "</testsuite>");
  FakeRun run;
  Run({{"files", {path}}, {"output", folder_.path() + "/r.html"}}, &run);
  EXPECT_EQ(run.outcome, "done");
  EXPECT_GT(run.progress.size(), 50u);
  EXPECT_LE(run.progress.size(), 98u);
}

TEST_F(ReportHandlerTest, SeveralTasksRunAtOnce) {
  std::vector<FakeRun> runs(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < runs.size(); ++i) {
    threads.emplace_back([&, i] {
      FakeTask task;
      task.id = "task" + std::to_string(i);
      task.payload = json({{"files", {Sample("googletest.xml")}}, {"output", folder_.path() + "/r.html"}}).dump();
      host_.Run(task, &runs[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const FakeRun& run : runs) EXPECT_EQ(run.outcome, "done") << run.text;
  EXPECT_THAT(folder_.List(), ElementsAre("r.html"));
}

TEST_F(ReportHandlerTest, OptionsLimitTheFolders) {
  const std::string inside = folder_.path() + "/in";
  std::filesystem::create_directories(inside);
  std::filesystem::copy(Sample("ctest.xml"), inside + "/a.xml");
  const FakeHost limited(REPORT_PLUGIN, json({{"folders", {inside}}}).dump());
  ASSERT_EQ(limited.result(), 0) << limited.error();
  const auto outcome = [&](const std::string& file, const std::string& output) {
    FakeTask task;
    task.payload = json({{"files", {file}}, {"output", output}}).dump();
    FakeRun run;
    limited.Run(task, &run);
    return run.outcome + " " + run.label;
  };
  EXPECT_EQ(outcome(inside + "/a.xml", inside), "done application/json");
  EXPECT_EQ(outcome(Sample("ctest.xml"), inside), "reject file");
  EXPECT_EQ(outcome(inside + "/a.xml", folder_.path()), "reject file");
}

TEST(ReportPluginTest, WrongOptionsRefuseThePlugin) {
  const FakeHost host(REPORT_PLUGIN, R"({"folders":"/srv"})");
  EXPECT_NE(host.result(), 0);
  EXPECT_EQ(host.error(), "folders: must be a list of strings, not string");
}

}  // namespace
}  // namespace penstock::report
