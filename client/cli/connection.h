#ifndef PENSTOCK_CLIENT_CLI_CONNECTION_H_
#define PENSTOCK_CLIENT_CLI_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "penstock/v1/bulk_service.grpc.pb.h"
#include "penstock/v1/schedule_service.grpc.pb.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "penstock/v1/throttle_service.grpc.pb.h"

namespace penstock::cli {

using AdminStub = v1::AdminService::Stub;
using BulkStub = v1::BulkService::Stub;
using ScheduleStub = v1::ScheduleService::Stub;
using ThrottleStub = v1::ThrottleService::Stub;
using TaskStub = v1::TaskService::Stub;

// What gRPC says when it could not connect, as people say it, with what to do.
std::string WhyNotConnected(const std::string& message);

// The broker as a command sees it: calls that block until their deadline, and errors that say what to do. Nothing is
// repeated. Used by one thread.
class Connection {
 public:
  // Connects at the first call. Of the options, broker, timeout and the files count. InvalidArgument: a file cannot be
  // read.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const ClientOptions& options);

  // connection.Call(&AdminStub::GetStatus, request): the response, or the error explained. `timeout` 0: the options'.
  template <class Stub, class Request, class Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request, absl::Duration timeout = absl::ZeroDuration()) {
    if (timeout <= absl::ZeroDuration()) timeout = options_.timeout;
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    Response response;
    const grpc::Status status = (stub(static_cast<Stub*>(nullptr)).*method)(&context, request, &response);
    if (!status.ok()) return Explain(status, request.ByteSizeLong(), timeout);
    return response;
  }

  // The same for a call that answers again and again, until `deadline`.
  template <class Stub, class Request, class Response, class Visit>
  absl::Status Read(std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(grpc::ClientContext*, const Request&),
                    const Request& request, absl::Time deadline, Visit visit) {
    grpc::ClientContext context;
    if (deadline != absl::InfiniteFuture()) context.set_deadline(absl::ToChronoTime(deadline));
    const auto reader = (stub(static_cast<Stub*>(nullptr)).*method)(&context, request);
    for (Response response; reader->Read(&response);) visit(response);
    const grpc::Status status = reader->Finish();
    if (status.ok()) return absl::OkStatus();
    return Explain(status, request.ByteSizeLong(), deadline - absl::Now());
  }

 private:
  Connection(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel);

  AdminStub& stub(AdminStub*) { return *admin_; }
  BulkStub& stub(BulkStub*) { return *bulk_; }
  ScheduleStub& stub(ScheduleStub*) { return *schedules_; }
  ThrottleStub& stub(ThrottleStub*) { return *throttles_; }
  TaskStub& stub(TaskStub*) { return *tasks_; }
  absl::Status Explain(const grpc::Status& status, size_t request_bytes, absl::Duration timeout) const;

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<AdminStub> admin_;
  const std::unique_ptr<BulkStub> bulk_;
  const std::unique_ptr<ScheduleStub> schedules_;
  const std::unique_ptr<ThrottleStub> throttles_;
  const std::unique_ptr<TaskStub> tasks_;
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_CONNECTION_H_
