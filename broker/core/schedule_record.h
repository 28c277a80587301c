#ifndef PENSTOCK_BROKER_CORE_SCHEDULE_RECORD_H_
#define PENSTOCK_BROKER_CORE_SCHEDULE_RECORD_H_

// Schedules as records and back.

#include <string>

#include "broker/core/schedule.h"
#include "broker/storage/records.h"

namespace penstock::broker {

// Over `newer`, what a later version stored of it; see IfNewer (storage/records.h).
records::ScheduleRecord ToRecord(const ScheduleView& schedule, const std::string& newer);
records::ScheduleProgressRecord ToProgressRecord(const ScheduleView& schedule, const std::string& newer);
// The reverse: each sets its part of a schedule.
void ReadRecord(const records::ScheduleRecord& record, ScheduleView* schedule);
void ReadRecord(const records::ScheduleProgressRecord& record, ScheduleView* schedule);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_SCHEDULE_RECORD_H_
