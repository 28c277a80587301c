#include "client/cli/estimate_text.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_join.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

std::string Rounded(absl::Duration duration) {
  const double millis = absl::ToDoubleMilliseconds(duration);
  if (millis < 1) return "0s";
  // Whole minutes and hours above those.
  double unit = std::pow(10, std::floor(std::log10(millis)) - 1);
  if (duration >= absl::Minutes(1)) unit = 1'000;
  if (duration >= absl::Minutes(10)) unit = 60'000;
  if (duration >= absl::Hours(10)) unit = 3'600'000;
  return penstock::FormatDuration(absl::Milliseconds(std::round(millis / unit) * unit));
}

}  // namespace

std::string EstimateText(const v1::TimeEstimate& estimate) {
  const absl::Duration low = ToDuration(estimate.low());
  const absl::Duration high = ToDuration(estimate.high());
  if (high < absl::Milliseconds(1)) return "at once";
  if (Rounded(low) == Rounded(high)) return Rounded(high);
  return fmt::format("about {} ({} to {})", Rounded(ToDuration(estimate.expected())), Rounded(low), Rounded(high));
}

std::string PositionText(const v1::QueuePosition& position) {
  if (position.high() == 0) return "none";
  if (position.low() == position.high()) return fmt::format("{} of its queue", FormatCount(position.expected()));
  return fmt::format("about {} of its queue ({} to {})", FormatCount(position.expected()), FormatCount(position.low()),
                     FormatCount(position.high()));
}

std::string ExplainLines(const CommandContext& context, const v1::ExplainTaskResponse& explain, int width) {
  std::string text;
  const auto fact = [&](std::string_view label, std::string_view value) {
    text += fmt::format("{:<{}} {}\n", label, width, value);
  };
  std::string label = "waits";
  for (const v1::WaitReason& reason : explain.reasons()) {
    // The position says it with more care.
    if (reason.code() == v1::WaitReason::CODE_TURN) continue;
    fact(label, Paint(Printable(reason.text()), Style::kYellow, context.Color()));
    label.clear();
    if (reason.task_ids_size() > 0 && reason.code() == v1::WaitReason::CODE_THROTTLED) {
      const std::vector<std::string> tasks(reason.task_ids().begin(), reason.task_ids().end());
      fact("", "  by " + absl::StrJoin(tasks, ", "));
    }
  }
  if (!explain.has_position()) return text;
  fact("before", PositionText(explain.position()));
  fact("starts", explain.has_starts_in() ? EstimateText(explain.starts_in()) : "nobody can tell");
  return text;
}

}  // namespace penstock::cli
