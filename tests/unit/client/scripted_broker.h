#ifndef PENSTOCK_TESTS_UNIT_CLIENT_SCRIPTED_BROKER_H_
#define PENSTOCK_TESTS_UNIT_CLIENT_SCRIPTED_BROKER_H_

#include <functional>
#include <memory>
#include <string>

#include "grpcpp/server.h"
#include "penstock/v1/task_service.grpc.pb.h"

namespace penstock::testing {

// A TaskService that does what a test says, wrong things too. Set the functions before the first call; they run on
// gRPC's threads, one for each call.
class ScriptedBroker final : public v1::TaskService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::EnqueueStreamResponse, v1::EnqueueStreamRequest>;

  ScriptedBroker();
  ~ScriptedBroker() override;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // What becomes of a stream. Default: every frame is accepted.
  std::function<grpc::Status(Stream*)> on_stream;
  // What unary calls answer, by name ("GetTask"). Default: OK, with an empty response.
  std::function<grpc::Status(const std::string& method)> on_call;

  // Accepts a frame: task ids of its number and the index.
  static v1::EnqueueStreamResponse Accept(const v1::EnqueueStreamRequest& frame);

  grpc::Status EnqueueStream(grpc::ServerContext* context, Stream* stream) override;
  grpc::Status GetTask(grpc::ServerContext* context, const v1::GetTaskRequest* request,
                       v1::GetTaskResponse* response) override;
  grpc::Status CancelTask(grpc::ServerContext* context, const v1::CancelTaskRequest* request,
                          v1::CancelTaskResponse* response) override;
  grpc::Status RetryTask(grpc::ServerContext* context, const v1::RetryTaskRequest* request,
                         v1::RetryTaskResponse* response) override;
  // Finished at once, when it is OK.
  grpc::Status WaitTask(grpc::ServerContext* context, const v1::WaitTaskRequest* request,
                        v1::WaitTaskResponse* response) override;
  grpc::Status WatchTask(grpc::ServerContext* context, const v1::WatchTaskRequest* request,
                         grpc::ServerWriter<v1::WatchTaskResponse>* writer) override;

 private:
  grpc::Status OnCall(const std::string& method) { return on_call ? on_call(method) : grpc::Status::OK; }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_UNIT_CLIENT_SCRIPTED_BROKER_H_
