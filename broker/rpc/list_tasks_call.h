#ifndef PENSTOCK_BROKER_RPC_LIST_TASKS_CALL_H_
#define PENSTOCK_BROKER_RPC_LIST_TASKS_CALL_H_

#include "broker/rpc/rpc_context.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// Answers ListTasks: one walk (task_walk.h) is a page. gRPC keeps request and response until the reactor's Finish.
void StartListTasks(RpcContext& context, const v1::ListTasksRequest& request, v1::ListTasksResponse* response,
                    grpc::ServerUnaryReactor* reactor);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_LIST_TASKS_CALL_H_
