#include "tests/support/fake_worker_service.h"

#include <chrono>
#include <utility>

#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_context.h"

namespace penstock::testing {

FakeWorkerService::FakeWorkerService() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

FakeWorkerService::~FakeWorkerService() { server_->Shutdown(std::chrono::system_clock::now()); }

v1::WorkRequest FakeWorkerService::Next() {
  return NextThat([](const v1::WorkRequest&) { return true; });
}

v1::WorkRequest FakeWorkerService::NextThat(const std::function<bool(const v1::WorkRequest&)>& fits) {
  MutexLock lock(mu_);
  while (true) {
    while (requests_.empty()) changed_.Wait(mu_);
    v1::WorkRequest request = std::move(requests_.front());
    requests_.pop_front();
    if (fits(request)) return request;
  }
}

v1::Hello FakeWorkerService::Welcome(const v1::Welcome& welcome) {
  v1::WorkRequest request = NextThat([](const v1::WorkRequest& r) { return r.has_hello(); });
  v1::WorkResponse response;
  *response.mutable_welcome() = welcome;
  Send(response);
  return std::move(*request.mutable_hello());
}

void FakeWorkerService::Send(const v1::WorkResponse& response) {
  MutexLock lock(mu_);
  if (stream_ != nullptr) stream_->Write(response);
}

void FakeWorkerService::Deliver(TaskId task, uint64_t token, const std::string& type, const std::string& payload,
                                int run_timeout_seconds) {
  v1::WorkResponse response;
  v1::Delivery* delivery = response.add_deliveries();
  delivery->set_task_id(task.ToString());
  delivery->set_fencing_token(token);
  delivery->set_attempt(1);
  delivery->set_max_attempts(20);
  delivery->mutable_spec()->set_queue("q");
  delivery->mutable_spec()->set_type(type);
  delivery->mutable_spec()->set_payload(payload);
  delivery->mutable_run_timeout()->set_seconds(run_timeout_seconds);
  Send(response);
}

void FakeWorkerService::Cut() {
  MutexLock lock(mu_);
  if (context_ != nullptr) context_->TryCancel();
  while (context_ != nullptr) changed_.Wait(mu_);
}

void FakeWorkerService::RefuseNext(const grpc::Status& status) {
  MutexLock lock(mu_);
  refusal_ = status;
}

grpc::Status FakeWorkerService::Work(grpc::ServerContext* context,
                                     grpc::ServerReaderWriter<v1::WorkResponse, v1::WorkRequest>* stream) {
  v1::WorkRequest request;
  if (!stream->Read(&request)) return grpc::Status::OK;
  {
    MutexLock lock(mu_);
    if (refusal_) return *std::exchange(refusal_, std::nullopt);
    context_ = context;
    stream_ = stream;
  }
  bool goodbye;
  do {
    goodbye = request.goodbye();
    MutexLock lock(mu_);
    requests_.push_back(std::move(request));
    changed_.SignalAll();
    request = v1::WorkRequest();
  } while (!goodbye && stream->Read(&request));
  MutexLock lock(mu_);
  context_ = nullptr;
  stream_ = nullptr;
  changed_.SignalAll();
  return grpc::Status::OK;
}

std::function<bool(const v1::WorkRequest&)> HasOutcomeOf(TaskId task) {
  return [id = task.ToString()](const v1::WorkRequest& request) {
    for (const v1::TaskOutcome& outcome : request.outcomes()) {
      if (outcome.task_id() == id) return true;
    }
    return false;
  };
}

}  // namespace penstock::testing
