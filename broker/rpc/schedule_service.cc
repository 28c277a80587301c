#include "broker/rpc/schedule_service.h"

#include <utility>

#include "broker/rpc/convert_schedule.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/unary.h"

namespace penstock::broker {
namespace {

// Of the tasks that one page of a list shows; they are looked at where others wait.
constexpr size_t kPageBytes = 4 << 20;

// The answer is the schedule as it is now.
template <class Response>
grpc::ServerUnaryReactor* AnswerSchedule(RpcContext& context, grpc::CallbackServerContext* call,
                                         absl::StatusOr<ScheduleCommand> command, size_t bytes, Response* response) {
  return AskAndAnswer<ScheduleReply>(context, call, std::move(command), bytes, [response](ScheduleReply reply) {
    ToProto(reply.schedule, ScheduleDetail::kAll, response->mutable_schedule());
  });
}

template <class Response>
grpc::ServerUnaryReactor* AnswerSchedule(RpcContext& context, grpc::CallbackServerContext* call,
                                         absl::StatusOr<Sized<ScheduleCommand>> sized, Response* response) {
  if (!sized.ok()) return AnswerSchedule(context, call, sized.status(), 0, response);
  const size_t bytes = sized->bytes;
  return AnswerSchedule(context, call, std::move(sized->command), bytes, response);
}

}  // namespace

grpc::ServerUnaryReactor* ScheduleService::CreateSchedule(grpc::CallbackServerContext* call,
                                                          const v1::CreateScheduleRequest* request,
                                                          v1::CreateScheduleResponse* response) {
  return AnswerSchedule(context_, call, ToCommand(*request, context_.limits, context_.WallNow()), response);
}

grpc::ServerUnaryReactor* ScheduleService::UpdateSchedule(grpc::CallbackServerContext* call,
                                                          const v1::UpdateScheduleRequest* request,
                                                          v1::UpdateScheduleResponse* response) {
  return AnswerSchedule(context_, call, ToCommand(*request, context_.limits, context_.WallNow()), response);
}

grpc::ServerUnaryReactor* ScheduleService::GetSchedule(grpc::CallbackServerContext* call,
                                                       const v1::GetScheduleRequest* request,
                                                       v1::GetScheduleResponse* response) {
  return AnswerSchedule(context_, call, ToScheduleCommand(ScheduleVerb::kGet, request->name(), context_.limits),
                        kSmallCommandBytes, response);
}

grpc::ServerUnaryReactor* ScheduleService::PauseSchedule(grpc::CallbackServerContext* call,
                                                         const v1::PauseScheduleRequest* request,
                                                         v1::PauseScheduleResponse* response) {
  return AnswerSchedule(context_, call, ToScheduleCommand(ScheduleVerb::kPause, request->name(), context_.limits),
                        kSmallCommandBytes, response);
}

grpc::ServerUnaryReactor* ScheduleService::ResumeSchedule(grpc::CallbackServerContext* call,
                                                          const v1::ResumeScheduleRequest* request,
                                                          v1::ResumeScheduleResponse* response) {
  return AnswerSchedule(context_, call, ToScheduleCommand(ScheduleVerb::kResume, request->name(), context_.limits),
                        kSmallCommandBytes, response);
}

grpc::ServerUnaryReactor* ScheduleService::DeleteSchedule(grpc::CallbackServerContext* call,
                                                          const v1::DeleteScheduleRequest* request,
                                                          v1::DeleteScheduleResponse*) {
  return AskForStatus(context_, call, ToScheduleCommand(ScheduleVerb::kDelete, request->name(), context_.limits));
}

grpc::ServerUnaryReactor* ScheduleService::RunScheduleNow(grpc::CallbackServerContext* call,
                                                          const v1::RunScheduleNowRequest* request,
                                                          v1::RunScheduleNowResponse* response) {
  return AskAndAnswer<ScheduleReply>(
      context_, call, ToScheduleCommand(ScheduleVerb::kRunNow, request->name(), context_.limits), kSmallCommandBytes,
      [response](ScheduleReply reply) { response->set_task_id(reply.task.ToString()); });
}

grpc::ServerUnaryReactor* ScheduleService::ListSchedules(grpc::CallbackServerContext* call,
                                                         const v1::ListSchedulesRequest* request,
                                                         v1::ListSchedulesResponse* response) {
  return AskAndAnswer<SchedulesReply>(context_, call, ToCommand(*request, context_.limits), kSmallCommandBytes,
                                      [response](SchedulesReply reply) {
                                        size_t bytes = 0;
                                        bool more = reply.more;
                                        for (const ScheduleView& schedule : reply.schedules) {
                                          // At least one, or a list would never end.
                                          if (bytes > kPageBytes) {
                                            more = true;
                                            break;
                                          }
                                          bytes += schedule.definition->task.bytes();
                                          ToProto(schedule, ScheduleDetail::kInList, response->add_schedules());
                                        }
                                        if (more) {
                                          response->set_next_page_token(response->schedules().rbegin()->name());
                                        }
                                      });
}

grpc::ServerUnaryReactor* ScheduleService::PreviewSchedule(grpc::CallbackServerContext* call,
                                                           const v1::PreviewScheduleRequest* request,
                                                           v1::PreviewScheduleResponse* response) {
  const auto ticks = PreviewTicks(*request, context_.limits, context_.WallNow());
  if (ticks.ok()) {
    for (const Time tick : *ticks) SetTimestamp(tick, response->add_ticks());
  }
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  FinishWith(reactor, ticks.status());
  return reactor;
}

}  // namespace penstock::broker
