#ifndef PENSTOCK_CLIENT_GRPC_BULK_H_
#define PENSTOCK_CLIENT_GRPC_BULK_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/bulk.h"
#include "grpcpp/channel.h"
#include "penstock/v1/bulk_service.grpc.pb.h"

namespace penstock {

// The bulk jobs of a broker. Owned by the client that talks to it, which makes the calls; any thread.
class GrpcBulk final : public BulkClient {
 public:
  // Makes a call, and again while the broker is away, as the client's options say.
  using Rpc = std::function<grpc::Status(grpc::ClientContext*)>;
  using Call = std::function<absl::Status(const Rpc&)>;

  GrpcBulk(const std::shared_ptr<grpc::Channel>& channel, Call call)
      : stub_(v1::BulkService::NewStub(channel)), call_(std::move(call)) {}

  absl::StatusOr<BulkJobInfo> Start(BulkJobSpec spec, const std::string& request_id) override;
  absl::StatusOr<BulkJobInfo> Get(const std::string& id) override;
  absl::StatusOr<std::vector<BulkJobInfo>> List() override;
  absl::StatusOr<BulkJobInfo> Stop(const std::string& id) override;

 private:
  using Stub = v1::BulkService::Stub;

  template <class Request, class Response>
  absl::StatusOr<Response> Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                               const Request& request);

  const std::unique_ptr<Stub> stub_;
  const Call call_;
};

// A filter to and from the API's.
void FillTaskFilter(const TaskFilter& filter, v1::TaskFilter* out);
TaskFilter ToTaskFilter(const v1::TaskFilter& filter);

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_GRPC_BULK_H_
