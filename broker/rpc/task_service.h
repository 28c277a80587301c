#ifndef PENSTOCK_BROKER_RPC_TASK_SERVICE_H_
#define PENSTOCK_BROKER_RPC_TASK_SERVICE_H_

#include "broker/rpc/rpc_context.h"
#include "penstock/v1/task_service.grpc.pb.h"

namespace penstock::broker {

// What services call. Translates and waits for nothing; every rpc is answered from the commit thread or the read pool.
// Unary enqueues come as bytes, so that one which is refused was not parsed.
class TaskService final : public v1::TaskService::WithRawCallbackMethod_Enqueue<
                              v1::TaskService::WithRawCallbackMethod_EnqueueMany<v1::TaskService::CallbackService>> {
 public:
  explicit TaskService(RpcContext& context) : context_(context) {}

  grpc::ServerUnaryReactor* Enqueue(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* EnqueueMany(grpc::CallbackServerContext* call, const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<v1::EnqueueStreamRequest, v1::EnqueueStreamResponse>* EnqueueStream(
      grpc::CallbackServerContext* call) override;
  grpc::ServerUnaryReactor* GetTask(grpc::CallbackServerContext* call, const v1::GetTaskRequest* request,
                                    v1::GetTaskResponse* response) override;
  grpc::ServerUnaryReactor* ListTasks(grpc::CallbackServerContext* call, const v1::ListTasksRequest* request,
                                      v1::ListTasksResponse* response) override;
  grpc::ServerUnaryReactor* WaitTask(grpc::CallbackServerContext* call, const v1::WaitTaskRequest* request,
                                     v1::WaitTaskResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchTaskResponse>* WatchTask(grpc::CallbackServerContext* call,
                                                             const v1::WatchTaskRequest* request) override;
  grpc::ServerUnaryReactor* ExplainTask(grpc::CallbackServerContext* call, const v1::ExplainTaskRequest* request,
                                        v1::ExplainTaskResponse* response) override;
  grpc::ServerWriteReactor<v1::SubscribeTasksResponse>* SubscribeTasks(
      grpc::CallbackServerContext* call, const v1::SubscribeTasksRequest* request) override;
  grpc::ServerUnaryReactor* ListTaskLogLines(grpc::CallbackServerContext* call,
                                             const v1::ListTaskLogLinesRequest* request,
                                             v1::ListTaskLogLinesResponse* response) override;
  grpc::ServerUnaryReactor* CancelTask(grpc::CallbackServerContext* call, const v1::CancelTaskRequest* request,
                                       v1::CancelTaskResponse* response) override;
  grpc::ServerUnaryReactor* UpdateTask(grpc::CallbackServerContext* call, const v1::UpdateTaskRequest* request,
                                       v1::UpdateTaskResponse* response) override;
  grpc::ServerUnaryReactor* DeleteTask(grpc::CallbackServerContext* call, const v1::DeleteTaskRequest* request,
                                       v1::DeleteTaskResponse* response) override;
  grpc::ServerUnaryReactor* RetryTask(grpc::CallbackServerContext* call, const v1::RetryTaskRequest* request,
                                      v1::RetryTaskResponse* response) override;

 private:
  RpcContext& context_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TASK_SERVICE_H_
