#ifndef PENSTOCK_CLIENT_SCHEDULE_MESSAGES_H_
#define PENSTOCK_CLIENT_SCHEDULE_MESSAGES_H_

// The library's schedules to and from the API's messages. InvalidArgument names the field; the broker checks the rest.

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/schedules.h"
#include "penstock/v1/schedule_service.pb.h"

namespace penstock {

absl::StatusOr<v1::CreateScheduleRequest> ToRequest(NewSchedule schedule);
absl::StatusOr<v1::UpdateScheduleRequest> ToRequest(const std::string& name, ScheduleChange change);
absl::Status FillTimes(const ScheduleTimes& times, v1::ScheduleTimes* out);

ScheduleInfo ToScheduleInfo(v1::Schedule schedule);
std::vector<absl::Time> ToTimes(const google::protobuf::RepeatedPtrField<google::protobuf::Timestamp>& times);

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_SCHEDULE_MESSAGES_H_
