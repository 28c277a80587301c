#ifndef PENSTOCK_BROKER_RPC_SCHEDULE_SERVICE_H_
#define PENSTOCK_BROKER_RPC_SCHEDULE_SERVICE_H_

#include "broker/rpc/rpc_context.h"
#include "penstock/v1/schedule_service.grpc.pb.h"

namespace penstock::broker {

// Schedules for whoever makes and steers them. Translates and waits for nothing.
class ScheduleService final : public v1::ScheduleService::CallbackService {
 public:
  explicit ScheduleService(RpcContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* CreateSchedule(grpc::CallbackServerContext* call, const v1::CreateScheduleRequest* request,
                                           v1::CreateScheduleResponse* response) override;
  grpc::ServerUnaryReactor* UpdateSchedule(grpc::CallbackServerContext* call, const v1::UpdateScheduleRequest* request,
                                           v1::UpdateScheduleResponse* response) override;
  grpc::ServerUnaryReactor* GetSchedule(grpc::CallbackServerContext* call, const v1::GetScheduleRequest* request,
                                        v1::GetScheduleResponse* response) override;
  grpc::ServerUnaryReactor* ListSchedules(grpc::CallbackServerContext* call, const v1::ListSchedulesRequest* request,
                                          v1::ListSchedulesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteSchedule(grpc::CallbackServerContext* call, const v1::DeleteScheduleRequest* request,
                                           v1::DeleteScheduleResponse* response) override;
  grpc::ServerUnaryReactor* PauseSchedule(grpc::CallbackServerContext* call, const v1::PauseScheduleRequest* request,
                                          v1::PauseScheduleResponse* response) override;
  grpc::ServerUnaryReactor* ResumeSchedule(grpc::CallbackServerContext* call, const v1::ResumeScheduleRequest* request,
                                           v1::ResumeScheduleResponse* response) override;
  grpc::ServerUnaryReactor* RunScheduleNow(grpc::CallbackServerContext* call, const v1::RunScheduleNowRequest* request,
                                           v1::RunScheduleNowResponse* response) override;
  grpc::ServerUnaryReactor* PreviewSchedule(grpc::CallbackServerContext* call,
                                            const v1::PreviewScheduleRequest* request,
                                            v1::PreviewScheduleResponse* response) override;

 private:
  RpcContext& context_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_SCHEDULE_SERVICE_H_
