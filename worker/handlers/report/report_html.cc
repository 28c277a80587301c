#include "worker/handlers/report/report_html.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <vector>

#include "common/units.h"
#include "fmt/format.h"
#include "worker/handlers/report/html_text.h"
#include "worker/handlers/report/report_charts.h"
#include "worker/handlers/report/report_style.h"

namespace penstock::report {
namespace {

constexpr size_t kSuitesAtOnce = 25;  // The others stand in a part that is opened by a click.
constexpr size_t kFailuresOpen = 3;   // So few are shown opened.

template <typename... Args>
void Print(std::string* page, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(*page), format, std::forward<Args>(args)...);
}

// "Suite.name", with the class where it says more than the suite.
std::string FullName(const TestCase& test) {
  if (test.class_name.empty() || test.class_name == test.suite || test.class_name == test.name) return test.name;
  return test.class_name + "." + test.name;
}

double Share(double value, double most) { return most > 0 ? value / most : 0; }

class Page {
 public:
  explicit Page(const Report& report) : report_(report), totals_(report.totals) {}

  std::string Render() {
    Head();
    Numbers();
    Charts();
    Failures();
    Slowest();
    Suites();
    Skipped();
    Foot();
    return std::move(out_);
  }

 private:
  void Head() {
    const std::string title = EscapeHtml(report_.title);
    Print(&out_,
          "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"generator\" content=\"Penstock "
          "report.generate\">\n<title>{}</title>\n<style>{}</style>\n</head>\n"
          "<body>\n<main class=\"page\">\n",
          title, kReportStyle);
    std::string_view verdict_class = "good";
    std::string verdict = "All passed";
    if (totals_.broken() > 0) {
      verdict_class = "bad";
      verdict = FormatCount(totals_.broken()) + " failed";
    } else if (totals_.passed == 0) {
      verdict_class = "none";
      verdict = totals_.tests == 0 ? "No tests" : "No test ran";
    }
    Print(&out_, "<header class=\"top\">\n<div>\n<h1>{}</h1>\n<p class=\"soft\">", title);
    if (!report_.suite_filter.empty()) Print(&out_, "Only suite {} · ", EscapeHtml(report_.suite_filter));
    Print(&out_, "{} in {} from {} · made on <time datetime=\"{}\">{}</time></p>\n</div>\n",
          ShowCount(totals_.tests, "test", "tests"),
          ShowCount(report_.suites.size() + report_.suites_left_out, "suite", "suites"),
          ShowCount(report_.documents, "file", "files"),
          absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", report_.generated_at, absl::UTCTimeZone()),
          absl::FormatTime("%Y-%m-%d at %H:%M UTC", report_.generated_at, absl::UTCTimeZone()));
    Print(&out_, "<p class=\"verdict {}\">{}</p>\n</header>\n", verdict_class, verdict);
  }

  void Number(std::string_view name, std::string_view value, bool alarm = false) {
    Print(&out_, "<div{}><dt>{}</dt><dd>{}</dd></div>\n", alarm ? " class=\"alarm\"" : "", name, EscapeHtml(value));
  }

  void Numbers() {
    out_ += "<dl class=\"numbers\">\n";
    Number("Tests", FormatCount(totals_.tests));
    Number("Pass rate", totals_.pass_rate() < 0 ? "–" : ShowPercent(totals_.pass_rate()));
    Number("Passed", FormatCount(totals_.passed));
    Number("Failed", FormatCount(totals_.failures), totals_.failures > 0);
    Number("Errors", FormatCount(totals_.errors), totals_.errors > 0);
    Number("Skipped", FormatCount(totals_.skipped));
    Number("Test time", ShowTime(totals_.time));
    out_ += "</dl>\n";
  }

  void LegendLine(std::string_view css_class, std::string_view name, uint64_t count) {
    const double part = totals_.tests == 0 ? 0 : static_cast<double>(count) / static_cast<double>(totals_.tests);
    Print(&out_, "<li><i class=\"{}\"></i><span>{}</span><span>{}</span><span class=\"part\">{}</span></li>\n",
          css_class, name, FormatCount(count), EscapeHtml(ShowPercent(part)));
  }

  void Charts() {
    out_ += "<div class=\"charts\">\n<section class=\"card\">\n<h2>Outcomes</h2>\n<div class=\"outcomes\">\n";
    out_ += OutcomeRing(totals_);
    out_ += "\n<ul class=\"legend\">\n";
    LegendLine("passed", "Passed", totals_.passed);
    LegendLine("failed", "Failed", totals_.failures);
    LegendLine("error", "Errors", totals_.errors);
    LegendLine("skipped", "Skipped", totals_.skipped);
    out_ += "</ul>\n</div>\n</section>\n<section class=\"card\">\n<h2>How long the tests took</h2>\n";
    out_ += DurationColumns(report_.durations);
    out_ += "\n</section>\n</div>\n";
  }

  void Heading(std::string_view name, uint64_t count) {
    Print(&out_, "<section class=\"card\">\n<h2>{} <span class=\"count\">{}</span></h2>\n", name, FormatCount(count));
  }

  void Fact(std::string_view name, std::string_view value) {
    if (!value.empty()) Print(&out_, "<dt>{}</dt><dd>{}</dd>", name, EscapeHtml(value));
  }

  void Failure(const TestCase& test, bool open) {
    const bool is_error = test.outcome == CaseOutcome::kError;
    Print(&out_, "<details{}>\n<summary><span class=\"line\"><span class=\"name\"><span class=\"tag {}\">{}</span>{}",
          open ? " open=\"\"" : "", is_error ? "error" : "failed", is_error ? "Error" : "Failed",
          EscapeHtml(FullName(test)));
    if (report_.suites.size() > 1) Print(&out_, " <span class=\"suite\">{}</span>", EscapeHtml(test.suite));
    Print(&out_, "</span><span class=\"time soft\">{}</span></span>", EscapeHtml(ShowTime(test.time)));
    const std::string brief = OneLine(!test.message.empty() ? test.message : test.detail, 200);
    if (!brief.empty()) Print(&out_, "<span class=\"brief\">{}</span>", EscapeHtml(brief));
    out_ += "</summary>\n<div class=\"body\">\n<dl>";
    Fact("Where", test.location);
    Fact("Type", test.error_type);
    out_ += "</dl>\n";
    // Most dialects repeat the message in the detail.
    const bool repeated = test.detail.find(CutUtf8(test.message, 1000)) != std::string::npos;
    if (!test.message.empty() && !repeated) Print(&out_, "<pre tabindex=\"0\">{}</pre>\n", EscapeHtml(test.message));
    if (!test.detail.empty()) Print(&out_, "<pre tabindex=\"0\">{}</pre>\n", EscapeHtml(test.detail));
    if (test.message.empty() && test.detail.empty()) out_ += "<p class=\"soft\">The file gives no message.</p>\n";
    out_ += "</div>\n</details>\n";
  }

  void Failures() {
    if (totals_.broken() == 0) return;
    Heading("Failures", totals_.broken());
    for (const TestCase& test : report_.failures) Failure(test, report_.failures.size() <= kFailuresOpen);
    if (const uint64_t others = totals_.broken() - report_.failures.size(); others > 0) {
      Print(&out_, "<p class=\"note\">The first {} are shown; {} not.</p>\n", FormatCount(report_.failures.size()),
            others == 1 ? "one more is" : FormatCount(others) + " more are");
    }
    out_ += "</section>\n";
  }

  void Slowest() {
    if (report_.slowest.empty()) return;
    const double most = absl::ToDoubleSeconds(report_.slowest.front().time);
    out_ += "<section class=\"card\">\n<h2>Slowest tests</h2>\n<ol class=\"slowest\">\n";
    for (const TestCase& test : report_.slowest) {
      Print(&out_, "<li><span class=\"name\">{}", EscapeHtml(FullName(test)));
      if (report_.suites.size() > 1) Print(&out_, " <span class=\"soft\">{}</span>", EscapeHtml(test.suite));
      Print(&out_, "</span><span class=\"picture\">{}</span><span class=\"time\">{}</span></li>\n",
            Bar(Share(absl::ToDoubleSeconds(test.time), most)), EscapeHtml(ShowTime(test.time)));
    }
    out_ += "</ol>\n</section>\n";
  }

  void SuiteRows(const std::vector<const Suite*>& suites, size_t begin, size_t end, uint64_t most) {
    out_ +=
        "<table>\n<thead><tr><th scope=\"col\">Suite</th><th scope=\"col\">Outcomes</th>"
        "<th scope=\"col\" class=\"number\">Tests</th><th scope=\"col\" class=\"number wide\">Passed</th>"
        "<th scope=\"col\" class=\"number\">Failed</th><th scope=\"col\" class=\"number wide\">Skipped</th>"
        "<th scope=\"col\" class=\"number wide\">Time</th></tr></thead>\n<tbody>\n";
    for (size_t i = begin; i < end; ++i) {
      const Totals& totals = suites[i]->totals;
      Print(&out_, "<tr><td class=\"name\">{}</td><td class=\"picture\">{}</td><td class=\"number\">{}</td>",
            EscapeHtml(suites[i]->name),
            OutcomeStrip(totals, Share(static_cast<double>(totals.tests), static_cast<double>(most))),
            FormatCount(totals.tests));
      Print(&out_, "<td class=\"number wide\">{}</td><td class=\"number{}\">{}</td><td class=\"number wide\">{}</td>",
            FormatCount(totals.passed), totals.broken() > 0 ? " alarm" : "", FormatCount(totals.broken()),
            FormatCount(totals.skipped));
      Print(&out_, "<td class=\"number wide\">{}</td></tr>\n", EscapeHtml(ShowTime(totals.time)));
    }
    out_ += "</tbody>\n</table>\n";
  }

  void Suites() {
    if (report_.suites.empty()) return;
    std::vector<const Suite*> suites;
    uint64_t most = 0;
    for (const Suite& suite : report_.suites) {
      suites.push_back(&suite);
      most = std::max(most, suite.totals.tests);
    }
    // What needs a look first; among equals the order of the files.
    std::stable_sort(suites.begin(), suites.end(), [](const Suite* a, const Suite* b) {
      if (a->totals.broken() != b->totals.broken()) return a->totals.broken() > b->totals.broken();
      return a->totals.time > b->totals.time;
    });
    Heading("Suites", suites.size() + report_.suites_left_out);
    const size_t at_once = std::min(suites.size(), kSuitesAtOnce);
    SuiteRows(suites, 0, at_once, most);
    if (suites.size() > at_once) {
      Print(&out_, "<details>\n<summary>{}</summary>\n",
            ShowCount(suites.size() - at_once, "more suite", "more suites"));
      SuiteRows(suites, at_once, suites.size(), most);
      out_ += "</details>\n";
    }
    if (report_.suites_left_out > 0) {
      const Totals& others = report_.left_out_totals;
      Print(&out_, "<p class=\"note\">{} not shown: {}, {} failed.</p>\n",
            ShowCount(report_.suites_left_out, "further suite is", "further suites are"),
            ShowCount(others.tests, "test", "tests"), FormatCount(others.broken()));
    }
    out_ += "</section>\n";
  }

  void Skipped() {
    if (totals_.skipped == 0) return;
    Heading("Skipped", totals_.skipped);
    Print(&out_, "<details>\n<summary>{} and why</summary>\n<table>\n<tbody>\n",
          totals_.skipped == 1 ? "Which" : "Which ones");
    for (const TestCase& test : report_.skipped) {
      Print(&out_, "<tr><td class=\"name\">{}</td><td class=\"name soft\">{}</td></tr>\n", EscapeHtml(FullName(test)),
            EscapeHtml(OneLine(test.message, 200)));
    }
    out_ += "</tbody>\n</table>\n";
    if (const uint64_t others = totals_.skipped - report_.skipped.size(); others > 0) {
      Print(&out_, "<p class=\"note\">The first {} are shown; {} more are not.</p>\n",
            FormatCount(report_.skipped.size()), FormatCount(others));
    }
    out_ += "</details>\n</section>\n";
  }

  void Foot() {
    out_ +=
        "<footer>The pass rate leaves skipped tests out. Test time is the tests' own, added up; tests that ran side by "
        "side "
        "took less. Made by Penstock.</footer>\n</main>\n</body>\n</html>\n";
  }

  const Report& report_;
  const Totals& totals_;
  std::string out_;
};

}  // namespace

std::string RenderHtml(const Report& report) { return Page(report).Render(); }

}  // namespace penstock::report
