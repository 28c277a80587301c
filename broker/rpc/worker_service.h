#ifndef PENSTOCK_BROKER_RPC_WORKER_SERVICE_H_
#define PENSTOCK_BROKER_RPC_WORKER_SERVICE_H_

#include "broker/rpc/rpc_context.h"
#include "broker/rpc/work_stream.h"
#include "penstock/v1/worker_service.grpc.pb.h"

namespace penstock::broker {

// What workers call.
class WorkerService final : public v1::WorkerService::WithRawCallbackMethod_Work<v1::WorkerService::Service> {
 public:
  explicit WorkerService(RpcContext& context) : context_(context) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Work(grpc::CallbackServerContext* call) override {
    return WorkStream::Start(context_);
  }

 private:
  RpcContext& context_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WORKER_SERVICE_H_
