#include "client/cli/bulk_view.h"

#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "client/cli/task_filter_options.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

std::string ActionWord(v1::BulkAction action) { return Word(v1::BulkAction_Name(action), "BULK_ACTION_"); }

// What was done to a task.
std::string_view DoneWord(v1::BulkAction action) {
  switch (action) {
    case v1::BULK_ACTION_CANCEL:
      return "cancelled";
    case v1::BULK_ACTION_RETRY:
      return "retried";
    default:
      return "deleted";
  }
}

Style StyleOf(v1::BulkJobState state) {
  switch (state) {
    case v1::BULK_JOB_STATE_DONE:
      return Style::kGreen;
    case v1::BULK_JOB_STATE_FAILED:
      return Style::kRed;
    case v1::BULK_JOB_STATE_STOPPED:
      return Style::kYellow;
    default:
      return Style::kBold;
  }
}

// "2/s", "0.5/s".
std::string RateText(double rate) {
  return fmt::format("{}/s", rate >= 10 ? FormatRate(rate) : fmt::format("{:.3g}", rate));
}

}  // namespace

std::string BulkStateWord(v1::BulkJobState state) { return Word(v1::BulkJobState_Name(state), "BULK_JOB_STATE_"); }

std::string BulkCounts(const v1::BulkJob& job) {
  const std::string fitted = fmt::format("{} fitted, {} seen", CountOf(job.matched(), "task"), FormatCount(job.seen()));
  if (job.spec().dry_run()) return fitted;
  return fmt::format("{} {}, {} skipped; {}", FormatCount(job.changed()), DoneWord(job.spec().action()),
                     FormatCount(job.skipped()), fitted);
}

std::string RenderBulkJob(const CommandContext& context, const v1::BulkJob& job) {
  const v1::BulkJobSpec& spec = job.spec();
  std::string text;
  const auto fact = [&](std::string_view label, const std::string& value) {
    text += fmt::format("{:<9} {}\n", label, value);
  };
  fact("bulk job", Paint(job.job_id(), Style::kBold, context.Color()));
  fact("state", Paint(BulkStateWord(job.state()), StyleOf(job.state()), context.Color()));
  if (!job.error().empty()) fact("error", Printable(job.error()));
  fact("action", ActionWord(spec.action()) + (spec.dry_run() ? ", as a dry run: it only counts" : ""));
  fact("queue", Printable(spec.filter().queue()));
  fact("tasks", Describe(spec.filter()));
  if (spec.rate() > 0) fact("rate", RateText(spec.rate()));
  if (spec.limit() > 0) fact("limit", CountOf(spec.limit(), "task"));
  if (!spec.reason().empty()) fact("reason", Printable(spec.reason()));
  fact("started", RelativeAndExact(ToTime(job.create_time()), context.Now()));
  if (job.has_end_time()) fact("ended", RelativeAndExact(ToTime(job.end_time()), context.Now()));
  fact("counts", BulkCounts(job));
  return text;
}

std::vector<Column> BulkJobColumns() {
  return {{.title = "ID"},
          {.title = "ACTION"},
          {.title = "QUEUE", .shrink_to = 10},
          {.title = "STATE"},
          {.title = "SEEN", .right = true, .optional = 1},
          {.title = "FITTED", .right = true},
          {.title = "CHANGED", .right = true},
          {.title = "SKIPPED", .right = true},
          {.title = "STARTED", .right = true},
          {.title = "ENDED", .right = true, .optional = 2},
          {.title = "TASKS", .shrink_to = 16, .optional = 3}};
}

std::vector<Cell> BulkJobCells(const v1::BulkJob& job, absl::Time now) {
  return {Cell(job.job_id(), Style::kBold),
          ActionWord(job.spec().action()) + (job.spec().dry_run() ? " (dry)" : ""),
          job.spec().filter().queue(),
          Cell(BulkStateWord(job.state()), StyleOf(job.state())),
          FormatCount(job.seen()),
          FormatCount(job.matched()),
          FormatCount(job.changed()),
          FormatCount(job.skipped()),
          Relative(ToTime(job.create_time()), now),
          job.has_end_time() ? Relative(ToTime(job.end_time()), now) : "-",
          Describe(job.spec().filter())};
}

}  // namespace penstock::cli
