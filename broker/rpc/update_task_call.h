#ifndef PENSTOCK_BROKER_RPC_UPDATE_TASK_CALL_H_
#define PENSTOCK_BROKER_RPC_UPDATE_TASK_CALL_H_

#include <memory>
#include <string>
#include <vector>

#include "broker/core/effects.h"
#include "broker/rpc/rpc_context.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// One UpdateTask call: reads what the task is, changes what the caller named, and hands the whole to the core. If the
// task was changed in between, it begins again, unless the caller named a revision. Lives until it has answered.
class UpdateTaskCall final : public std::enable_shared_from_this<UpdateTaskCall> {
 public:
  static void Start(RpcContext& context, const v1::UpdateTaskRequest& request, v1::UpdateTaskResponse* response,
                    grpc::ServerUnaryReactor* reactor);
  UpdateTaskCall(RpcContext& context, const v1::UpdateTaskRequest& request, v1::UpdateTaskResponse* response,
                 grpc::ServerUnaryReactor* reactor)
      : context_(context), request_(request), response_(*response), reactor_(*reactor) {}

 private:
  absl::Status Prepare();
  void Look();
  void Read(const TaskSnapshot& snapshot);
  void Change(v1::Task task);
  void Finish(const absl::Status& status);

  RpcContext& context_;
  const v1::UpdateTaskRequest& request_;  // gRPC keeps it until Finish
  v1::UpdateTaskResponse& response_;
  grpc::ServerUnaryReactor& reactor_;
  TaskId task_;
  std::vector<std::string> fields_;
  int tries_left_ = 10;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_UPDATE_TASK_CALL_H_
