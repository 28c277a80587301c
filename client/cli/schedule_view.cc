#include "client/cli/schedule_view.h"

#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "common/cron.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

std::string CatchUpText(v1::CatchUp catch_up) {
  switch (catch_up) {
    case v1::CATCH_UP_NONE:
      return "none: ticks that the broker is away for are missed";
    case v1::CATCH_UP_ALL:
      return "all: ticks that the broker is away for are made up for, each with a task";
    default:
      return "one: of the ticks that the broker is away for the last is made up for";
  }
}

std::string OverlapText(v1::Overlap overlap) {
  switch (overlap) {
    case v1::OVERLAP_SKIP:
      return "skip: no task while the last one is not finished";
    case v1::OVERLAP_CANCEL_PREVIOUS:
      return "cancel: the last task is cancelled if it is not finished";
    default:
      return "allow: tasks do not wait for each other";
  }
}

std::string StateOf(const v1::Schedule& schedule) {
  if (schedule.paused()) return "paused";
  if (!schedule.error().empty()) return schedule.next_times().empty() ? "waits" : "failing";
  return schedule.next_times().empty() ? "ended" : "active";
}

Style StyleOf(const std::string& state) {
  if (state == "active") return Style::kPlain;
  return state == "failing" || state == "waits" ? Style::kRed : Style::kYellow;
}

}  // namespace

std::string TimesText(const v1::ScheduleTimes& times) {
  if (times.has_interval()) return "every " + penstock::FormatDuration(ToDuration(times.interval()));
  return fmt::format("{} {}", times.cron(), times.time_zone());
}

std::string LocalTime(const v1::ScheduleTimes& times, absl::Time time) {
  const auto zone = FindTimeZone(times.time_zone().empty() ? "UTC" : times.time_zone());
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %Z", time, zone.value_or(absl::UTCTimeZone()));
}

std::string RenderSchedule(const CommandContext& context, const v1::Schedule& schedule) {
  const absl::Time now = context.Now();
  const v1::ScheduleTimes& times = schedule.times();
  std::string text;
  const auto fact = [&](std::string_view label, const std::string& value) {
    text += fmt::format("{:<11} {}\n", label, value);
  };
  const std::string state = StateOf(schedule);
  fact("schedule", Paint(schedule.name(), Style::kBold, context.Color()));
  fact("state", Paint(state, StyleOf(state), context.Color()));
  if (!schedule.error().empty()) {
    fact("error", Paint(Printable(schedule.error()), Style::kRed, context.Color()) +
                      fmt::format(" ({})", Relative(ToTime(schedule.error_time()), now)));
  }
  if (!schedule.note().empty()) fact("note", Printable(schedule.note()));
  fact("times", Printable(TimesText(times)));
  if (times.has_start_time()) fact("start", LocalTime(times, ToTime(times.start_time())));
  if (times.has_end_time()) fact("end", LocalTime(times, ToTime(times.end_time())));
  for (int i = 0; i < schedule.next_times_size(); ++i) {
    const absl::Time next = ToTime(schedule.next_times(i));
    fact(i == 0 ? "next" : "", fmt::format("{} ({})", LocalTime(times, next), Relative(next, now)));
  }
  if (schedule.has_last_tick_time()) {
    const absl::Time last = ToTime(schedule.last_tick_time());
    fact("last", fmt::format("{} ({}), task {}", LocalTime(times, last), Relative(last, now), schedule.last_task_id()));
  }
  fact("task", fmt::format("queue {}, type {}, payload {}", schedule.task().queue(), schedule.task().type(),
                           FormatSize(schedule.task().payload().size())));
  if (schedule.has_start_within()) {
    fact("within", penstock::FormatDuration(ToDuration(schedule.start_within())) + ", or it dies");
  }
  fact("catch-up", CatchUpText(schedule.catch_up()));
  fact("overlap", OverlapText(schedule.overlap()));
  fact("ticks", fmt::format("{} made, {} skipped, {} missed, {} failed", FormatCount(schedule.fired_total()),
                            FormatCount(schedule.skipped_total()), FormatCount(schedule.missed_total()),
                            FormatCount(schedule.failed_total())));
  fact("created", RelativeAndExact(ToTime(schedule.create_time()), now));
  fact("changed", RelativeAndExact(ToTime(schedule.update_time()), now));
  return text;
}

std::vector<Column> ScheduleColumns() {
  return {{.title = "NAME", .shrink_to = 12},
          {.title = "TIMES", .shrink_to = 16},
          {.title = "NEXT"},
          {.title = "LAST", .optional = 1},
          {.title = "LAST TASK", .optional = 2},
          {.title = "TYPE", .shrink_to = 10, .optional = 3},
          {.title = "MADE", .right = true},
          {.title = "SKIPPED", .right = true, .optional = 1},
          {.title = "MISSED", .right = true, .optional = 1},
          {.title = "FAILED", .right = true},
          {.title = "STATE"}};
}

std::vector<Cell> ScheduleCells(const v1::Schedule& schedule, absl::Time now) {
  const std::string state = StateOf(schedule);
  return {Cell(schedule.name(), Style::kBold),
          TimesText(schedule.times()),
          schedule.next_times().empty() ? "-" : Relative(ToTime(schedule.next_times(0)), now),
          schedule.has_last_tick_time() ? Relative(ToTime(schedule.last_tick_time()), now) : "-",
          schedule.last_task_id().empty() ? "-" : schedule.last_task_id(),
          schedule.task().type(),
          FormatCount(schedule.fired_total()),
          FormatCount(schedule.skipped_total()),
          FormatCount(schedule.missed_total()),
          Cell(FormatCount(schedule.failed_total()), schedule.failed_total() > 0 ? Style::kRed : Style::kPlain),
          Cell(state, StyleOf(state))};
}

}  // namespace penstock::cli
