#include "worker/handlers/report/report_charts.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include "common/units.h"
#include "fmt/format.h"
#include "worker/handlers/report/html_text.h"

namespace penstock::report {
namespace {

template <typename... Args>
void Print(std::string* text, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(*text), format, std::forward<Args>(args)...);
}

struct Part {
  std::string_view css_class;
  uint64_t count;
};

std::array<Part, 4> PartsOf(const Totals& totals) {
  return {Part{"passed", totals.passed}, Part{"failed", totals.failures}, Part{"error", totals.errors},
          Part{"skipped", totals.skipped}};
}

std::string InWords(const Totals& totals) {
  return fmt::format("{} passed, {} failed, {} with errors, {} skipped", FormatCount(totals.passed),
                     FormatCount(totals.failures), FormatCount(totals.errors), FormatCount(totals.skipped));
}

// The lengths of the parts, `whole` in all. What there is at all is at least `least` long, so that one failure among
// thousands is seen; the longest part gives way.
std::array<double, 4> Lengths(const std::array<Part, 4>& parts, uint64_t tests, double whole, double least) {
  std::array<double, 4> lengths = {};
  double sum = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].count == 0) continue;
    lengths[i] = std::max(least, whole * static_cast<double>(parts[i].count) / static_cast<double>(tests));
    sum += lengths[i];
  }
  *std::max_element(lengths.begin(), lengths.end()) -= sum - whole;
  return lengths;
}

}  // namespace

std::string OutcomeRing(const Totals& totals) {
  // Arcs are dashes on one circle: a stroke of the ring's width, the part's length drawn and the rest left out.
  constexpr double kRadius = 68, kStroke = 24, kRound = 2 * 3.14159265358979323846 * kRadius;
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 172 172\" role=\"img\" aria-labelledby=\"ring-title ring-desc\">"
      "<title id=\"ring-title\">Outcomes</title><desc id=\"ring-desc\">{}</desc>\n"
      "<circle class=\"ring track\" cx=\"86\" cy=\"86\" r=\"{}\" stroke-width=\"{}\"/>\n",
      InWords(totals), kRadius, kStroke);
  if (totals.tests > 0) {
    const std::array<Part, 4> parts = PartsOf(totals);
    const std::array<double, 4> lengths = Lengths(parts, totals.tests, kRound, 4);
    double begin = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].count == 0) continue;
      const double gap = parts[i].count == totals.tests ? 0 : 1.5;  // Between neighbours.
      fmt::format_to(
          std::back_inserter(svg),
          "<circle class=\"ring {}\" cx=\"86\" cy=\"86\" r=\"{}\" stroke-width=\"{}\" "
          "stroke-dasharray=\"{:.2f} {:.2f}\" stroke-dashoffset=\"{:.2f}\" transform=\"rotate(-90 86 86)\"/>\n",
          parts[i].css_class, kRadius, kStroke, lengths[i] - gap, kRound - lengths[i] + gap, -begin);
      begin += lengths[i];
    }
  }
  const double rate = totals.pass_rate();
  fmt::format_to(
      std::back_inserter(svg),
      "<text x=\"86\" y=\"88\" text-anchor=\"middle\" font-size=\"25\" font-weight=\"600\">{}</text>"
      "<text class=\"axis\" x=\"86\" y=\"107\" text-anchor=\"middle\" font-size=\"13\">passed</text>\n</svg>",
      rate < 0 ? "–" : EscapeHtml(ShowPercent(rate)));
  return svg;
}

std::string DurationColumns(const DurationHistogram& histogram) {
  constexpr double kLeft = 6, kColumn = 40, kGap = 2, kBase = 138, kHeight = 112;
  constexpr size_t kBuckets = DurationHistogram::kBuckets;
  const uint64_t most = *std::max_element(histogram.counts.begin(), histogram.counts.end());
  std::string words, columns;
  for (size_t i = 0; i < kBuckets; ++i) {
    const uint64_t count = histogram.counts[i];
    const double x = kLeft + kColumn * static_cast<double>(i);
    if (count > 0) {
      const double height = std::max(2.0, kHeight * static_cast<double>(count) / static_cast<double>(most));
      Print(&columns,
            "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.2f}\" width=\"{:.1f}\" height=\"{:.2f}\" rx=\"2\"/>"
            "<text x=\"{:.1f}\" y=\"{:.2f}\" text-anchor=\"middle\" font-size=\"11\">{}</text>\n",
            x + kGap, kBase - height, kColumn - 2 * kGap, height, x + kColumn / 2, kBase - height - 5,
            FormatCount(count));
      if (!words.empty()) words += ", ";
      Print(&words, "{} {}: {}", i + 1 < kBuckets ? "under" : "from",
            DurationHistogram::kBounds[std::min(i, kBuckets - 2)], FormatCount(count));
    }
    if (i + 1 < kBuckets) {
      const double end = x + kColumn;
      Print(&columns,
            "<line class=\"rule\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>"
            "<text class=\"axis\" x=\"{0:.1f}\" y=\"156\" text-anchor=\"middle\" font-size=\"11\">{3}</text>\n",
            end, kBase, kBase + 5, DurationHistogram::kBounds[i]);
    }
  }
  std::string svg;
  Print(&svg,
        "<svg class=\"histogram\" viewBox=\"0 0 332 162\" role=\"img\" aria-labelledby=\"columns-title columns-desc\">"
        "<title id=\"columns-title\">How long the tests took</title><desc id=\"columns-desc\">{}</desc>\n{}",
        words.empty() ? "no test ran" : words, columns);
  Print(&svg, "<line class=\"rule\" x1=\"{0}\" y1=\"{1}\" x2=\"326\" y2=\"{1}\"/>\n</svg>", kLeft, kBase + 0.5);
  return svg;
}

std::string OutcomeStrip(const Totals& totals, double part_of_longest) {
  std::string svg = fmt::format(
      "<svg class=\"strip\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" role=\"img\"><title>{}</title>",
      InWords(totals));
  if (totals.tests > 0) {
    const std::array<Part, 4> parts = PartsOf(totals);
    const double whole = std::clamp(part_of_longest * 1000, 60.0, 1000.0);
    const std::array<double, 4> lengths = Lengths(parts, totals.tests, whole, 14);
    double x = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].count == 0) continue;
      Print(&svg, "<rect class=\"{}\" x=\"{:.1f}\" width=\"{:.1f}\" height=\"10\"/>", parts[i].css_class, x,
            lengths[i]);
      x += lengths[i];
    }
  }
  return svg + "</svg>";
}

std::string Bar(double part_of_longest) {
  return fmt::format(
      "<svg class=\"strip\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
      "<rect class=\"bar\" width=\"{:.1f}\" height=\"10\"/></svg>",
      std::clamp(part_of_longest * 1000, 4.0, 1000.0));
}

}  // namespace penstock::report
