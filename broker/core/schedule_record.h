#ifndef PENSTOCK_BROKER_CORE_SCHEDULE_RECORD_H_
#define PENSTOCK_BROKER_CORE_SCHEDULE_RECORD_H_

// Schedules as records and back.

#include "broker/core/schedule.h"
#include "broker/storage/records.h"

namespace penstock::broker {

records::ScheduleRecord ToRecord(const ScheduleView& schedule);
records::ScheduleProgressRecord ToProgressRecord(const ScheduleView& schedule);
// The reverse: each sets its part of a schedule.
void ReadRecord(const records::ScheduleRecord& record, ScheduleView* schedule);
void ReadRecord(const records::ScheduleProgressRecord& record, ScheduleView* schedule);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_SCHEDULE_RECORD_H_
