#ifndef PENSTOCK_BROKER_RPC_THROTTLE_SERVICE_H_
#define PENSTOCK_BROKER_RPC_THROTTLE_SERVICE_H_

#include "broker/rpc/rpc_context.h"
#include "penstock/v1/throttle_service.grpc.pb.h"

namespace penstock::broker {

// Throttles for whoever makes and steers them. Translates and waits for nothing; names of groups and keys are read from
// the store on the read pool.
class ThrottleService final : public v1::ThrottleService::CallbackService {
 public:
  explicit ThrottleService(RpcContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* CreateThrottle(grpc::CallbackServerContext* call, const v1::CreateThrottleRequest* request,
                                           v1::CreateThrottleResponse* response) override;
  grpc::ServerUnaryReactor* UpdateThrottle(grpc::CallbackServerContext* call, const v1::UpdateThrottleRequest* request,
                                           v1::UpdateThrottleResponse* response) override;
  grpc::ServerUnaryReactor* GetThrottle(grpc::CallbackServerContext* call, const v1::GetThrottleRequest* request,
                                        v1::GetThrottleResponse* response) override;
  grpc::ServerUnaryReactor* ListThrottles(grpc::CallbackServerContext* call, const v1::ListThrottlesRequest* request,
                                          v1::ListThrottlesResponse* response) override;
  grpc::ServerUnaryReactor* DeleteThrottle(grpc::CallbackServerContext* call, const v1::DeleteThrottleRequest* request,
                                           v1::DeleteThrottleResponse* response) override;

 private:
  RpcContext& context_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_THROTTLE_SERVICE_H_
