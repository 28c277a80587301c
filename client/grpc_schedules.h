#ifndef PENSTOCK_CLIENT_GRPC_SCHEDULES_H_
#define PENSTOCK_CLIENT_GRPC_SCHEDULES_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/schedules.h"
#include "grpcpp/channel.h"
#include "penstock/v1/schedule_service.grpc.pb.h"

namespace penstock {

// The schedules of a broker. Owned by the client that talks to it, which makes the calls; any thread.
class GrpcSchedules final : public ScheduleClient {
 public:
  enum class IfAway { kRepeat, kGiveUp };
  // Makes a call; with kRepeat again while the broker is away, as the client's options say.
  using Rpc = std::function<grpc::Status(grpc::ClientContext*)>;
  using Call = std::function<absl::Status(IfAway, const Rpc&)>;

  GrpcSchedules(const std::shared_ptr<grpc::Channel>& channel, Call call)
      : stub_(v1::ScheduleService::NewStub(channel)), call_(std::move(call)) {}

  absl::StatusOr<ScheduleInfo> Create(NewSchedule schedule) override;
  absl::StatusOr<ScheduleInfo> Update(const std::string& name, ScheduleChange change) override;
  absl::StatusOr<ScheduleInfo> Get(const std::string& name) override;
  absl::StatusOr<std::vector<ScheduleInfo>> List() override;
  absl::Status Delete(const std::string& name) override;
  absl::StatusOr<ScheduleInfo> Pause(const std::string& name) override;
  absl::StatusOr<ScheduleInfo> Resume(const std::string& name) override;
  absl::StatusOr<TaskId> RunNow(const std::string& name) override;
  absl::StatusOr<std::vector<absl::Time>> Preview(const ScheduleTimes& times, int count) override;

 private:
  using Stub = v1::ScheduleService::Stub;

  template <class Request, class Response>
  absl::StatusOr<Response> Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                               const Request& request, IfAway if_away = IfAway::kRepeat);
  // Of the methods that answer with a schedule.
  template <class Request, class Response>
  absl::StatusOr<ScheduleInfo> AskForSchedule(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                           Response*),
                                              const Request& request);

  const std::unique_ptr<Stub> stub_;
  const Call call_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_GRPC_SCHEDULES_H_
