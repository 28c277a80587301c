#include "client/grpc_schedules.h"

#include "client/schedule_messages.h"
#include "common/status.h"

namespace penstock {
namespace {

constexpr int kPageSize = 1'000;

template <class Request>
Request Named(const std::string& name) {
  Request request;
  request.set_name(name);
  return request;
}

}  // namespace

template <class Request, class Response>
absl::StatusOr<Response> GrpcSchedules::Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                         Response*),
                                            const Request& request, IfAway if_away) {
  Response response;
  RETURN_IF_ERROR(
      call_(if_away, [&](grpc::ClientContext* context) { return ((*stub_).*method)(context, request, &response); }));
  return response;
}

template <class Request, class Response>
absl::StatusOr<ScheduleInfo> GrpcSchedules::AskForSchedule(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                                        const Request&, Response*),
                                                           const Request& request) {
  ASSIGN_OR_RETURN(Response response, Ask(method, request));
  return ToScheduleInfo(std::move(*response.mutable_schedule()));
}

absl::StatusOr<ScheduleInfo> GrpcSchedules::Create(NewSchedule schedule) {
  ASSIGN_OR_RETURN(const v1::CreateScheduleRequest request, ToRequest(std::move(schedule)));
  return AskForSchedule(&Stub::CreateSchedule, request);
}

absl::StatusOr<ScheduleInfo> GrpcSchedules::Update(const std::string& name, ScheduleChange change) {
  ASSIGN_OR_RETURN(const v1::UpdateScheduleRequest request, ToRequest(name, std::move(change)));
  return AskForSchedule(&Stub::UpdateSchedule, request);
}

absl::StatusOr<ScheduleInfo> GrpcSchedules::Get(const std::string& name) {
  return AskForSchedule(&Stub::GetSchedule, Named<v1::GetScheduleRequest>(name));
}

absl::StatusOr<std::vector<ScheduleInfo>> GrpcSchedules::List() {
  std::vector<ScheduleInfo> schedules;
  v1::ListSchedulesRequest request;
  request.set_page_size(kPageSize);
  do {
    ASSIGN_OR_RETURN(v1::ListSchedulesResponse page, Ask(&Stub::ListSchedules, request));
    for (v1::Schedule& schedule : *page.mutable_schedules()) schedules.push_back(ToScheduleInfo(std::move(schedule)));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return schedules;
}

absl::Status GrpcSchedules::Delete(const std::string& name) {
  return Ask(&Stub::DeleteSchedule, Named<v1::DeleteScheduleRequest>(name)).status();
}

absl::StatusOr<ScheduleInfo> GrpcSchedules::Pause(const std::string& name) {
  return AskForSchedule(&Stub::PauseSchedule, Named<v1::PauseScheduleRequest>(name));
}

absl::StatusOr<ScheduleInfo> GrpcSchedules::Resume(const std::string& name) {
  return AskForSchedule(&Stub::ResumeSchedule, Named<v1::ResumeScheduleRequest>(name));
}

absl::StatusOr<TaskId> GrpcSchedules::RunNow(const std::string& name) {
  ASSIGN_OR_RETURN(const v1::RunScheduleNowResponse response,
                   Ask(&Stub::RunScheduleNow, Named<v1::RunScheduleNowRequest>(name), IfAway::kGiveUp));
  const auto task = TaskId::Parse(response.task_id());
  if (!task) return absl::InternalError("the broker answered with no task id");
  return *task;
}

absl::StatusOr<std::vector<absl::Time>> GrpcSchedules::Preview(const ScheduleTimes& times, int count) {
  v1::PreviewScheduleRequest request;
  RETURN_IF_ERROR(FillTimes(times, request.mutable_times()));
  request.set_count(count);
  ASSIGN_OR_RETURN(const v1::PreviewScheduleResponse response, Ask(&Stub::PreviewSchedule, request));
  return ToTimes(response.ticks());
}

}  // namespace penstock
