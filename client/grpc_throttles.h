#ifndef PENSTOCK_CLIENT_GRPC_THROTTLES_H_
#define PENSTOCK_CLIENT_GRPC_THROTTLES_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/throttles.h"
#include "grpcpp/channel.h"
#include "penstock/v1/throttle_service.grpc.pb.h"

namespace penstock {

// The throttles of a broker. Owned by the client that talks to it, which makes the calls; any thread.
class GrpcThrottles final : public ThrottleClient {
 public:
  // Makes a call, and again while the broker is away, as the client's options say.
  using Rpc = std::function<grpc::Status(grpc::ClientContext*)>;
  using Call = std::function<absl::Status(const Rpc&)>;

  GrpcThrottles(const std::shared_ptr<grpc::Channel>& channel, Call call)
      : stub_(v1::ThrottleService::NewStub(channel)), call_(std::move(call)) {}

  absl::StatusOr<ThrottleInfo> Create(NewThrottle throttle) override;
  absl::StatusOr<ThrottleInfo> Update(const std::string& name, ThrottleChange change) override;
  absl::StatusOr<ThrottleInfo> Get(const std::string& name) override;
  absl::StatusOr<std::vector<ThrottleInfo>> List() override;
  absl::Status Delete(const std::string& name) override;

 private:
  using Stub = v1::ThrottleService::Stub;

  template <class Request, class Response>
  absl::StatusOr<Response> Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                               const Request& request);

  const std::unique_ptr<Stub> stub_;
  const Call call_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_GRPC_THROTTLES_H_
