#ifndef PENSTOCK_CLIENT_CLI_SCHEDULE_VIEW_H_
#define PENSTOCK_CLIENT_CLI_SCHEDULE_VIEW_H_

// Schedules as people read them.

#include <string>
#include <vector>

#include "client/cli/context.h"
#include "client/cli/table.h"
#include "penstock/v1/schedule_service.pb.h"

namespace penstock::cli {

// "30 2 * * * Europe/Berlin", "every 10s".
std::string TimesText(const v1::ScheduleTimes& times);
// "2026-11-23 02:30:00 CET", in the zone of `times`; in UTC where this machine does not know that.
std::string LocalTime(const v1::ScheduleTimes& times, absl::Time time);

std::string RenderSchedule(const CommandContext& context, const v1::Schedule& schedule);

// A schedule as a row of a list.
std::vector<Column> ScheduleColumns();
std::vector<Cell> ScheduleCells(const v1::Schedule& schedule, absl::Time now);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_SCHEDULE_VIEW_H_
