#include "tests/unit/client/scripted_broker.h"

#include <chrono>

#include "common/task_id.h"
#include "grpcpp/server_builder.h"

namespace penstock::testing {

ScriptedBroker::ScriptedBroker() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  builder.SetMaxReceiveMessageSize(-1);
  server_ = builder.BuildAndStart();
}

ScriptedBroker::~ScriptedBroker() { server_->Shutdown(std::chrono::system_clock::now()); }

v1::EnqueueStreamResponse ScriptedBroker::Accept(const v1::EnqueueStreamRequest& frame) {
  v1::EnqueueStreamResponse response;
  response.set_frame_number(frame.frame_number());
  for (int i = 0; i < frame.tasks_size(); ++i) {
    response.add_results()->set_task_id(TaskId(0, frame.frame_number(), static_cast<uint32_t>(i)).ToString());
  }
  return response;
}

grpc::Status ScriptedBroker::EnqueueStream(grpc::ServerContext*, Stream* stream) {
  if (on_stream) return on_stream(stream);
  v1::EnqueueStreamRequest frame;
  while (stream->Read(&frame)) stream->Write(Accept(frame));
  return grpc::Status::OK;
}

grpc::Status ScriptedBroker::GetTask(grpc::ServerContext*, const v1::GetTaskRequest*, v1::GetTaskResponse*) {
  return OnCall("GetTask");
}

grpc::Status ScriptedBroker::CancelTask(grpc::ServerContext*, const v1::CancelTaskRequest*, v1::CancelTaskResponse*) {
  return OnCall("CancelTask");
}

grpc::Status ScriptedBroker::RetryTask(grpc::ServerContext*, const v1::RetryTaskRequest*, v1::RetryTaskResponse*) {
  return OnCall("RetryTask");
}

grpc::Status ScriptedBroker::WaitTask(grpc::ServerContext*, const v1::WaitTaskRequest*,
                                      v1::WaitTaskResponse* response) {
  response->set_finished(true);
  return OnCall("WaitTask");
}

grpc::Status ScriptedBroker::WatchTask(grpc::ServerContext*, const v1::WatchTaskRequest*,
                                       grpc::ServerWriter<v1::WatchTaskResponse>*) {
  return OnCall("WatchTask");
}

}  // namespace penstock::testing
