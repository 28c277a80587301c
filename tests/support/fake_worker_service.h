#ifndef PENSTOCK_TESTS_SUPPORT_FAKE_WORKER_SERVICE_H_
#define PENSTOCK_TESTS_SUPPORT_FAKE_WORKER_SERVICE_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/mutex.h"
#include "common/task_id.h"
#include "grpcpp/server.h"
#include "penstock/v1/worker_service.grpc.pb.h"

namespace penstock::testing {

// A broker's side of worker streams that does what a test says and nothing by itself: the test reads every request and
// writes every response, so that it can be late, wrong or gone at any point. One stream at a time. The test's thread
// calls it.
class FakeWorkerService final : public v1::WorkerService::Service {
 public:
  FakeWorkerService();
  ~FakeWorkerService() override;  // cuts what is open

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // Waits for the next request, of whatever stream.
  v1::WorkRequest Next();
  // Waits for a request that fits; forgets those before it.
  v1::WorkRequest NextThat(const std::function<bool(const v1::WorkRequest&)>& fits);
  // Waits for a hello, answers with a welcome and returns the hello.
  v1::Hello Welcome(const v1::Welcome& welcome);

  void Send(const v1::WorkResponse& response);
  void Deliver(TaskId task, uint64_t token, const std::string& type = "t", const std::string& payload = {},
               int run_timeout_seconds = 60);
  // The stream breaks, as by a lost connection.
  void Cut();
  // The next stream ends with this after its hello, which Next does not show.
  void RefuseNext(const grpc::Status& status);

  grpc::Status Work(grpc::ServerContext* context,
                    grpc::ServerReaderWriter<v1::WorkResponse, v1::WorkRequest>* stream) override;

 private:
  Mutex mu_;
  CondVar changed_;
  std::deque<v1::WorkRequest> requests_ ABSL_GUARDED_BY(mu_);
  grpc::ServerContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
  grpc::ServerReaderWriter<v1::WorkResponse, v1::WorkRequest>* stream_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::optional<grpc::Status> refusal_ ABSL_GUARDED_BY(mu_);
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// An outcome of `task` is in it.
std::function<bool(const v1::WorkRequest&)> HasOutcomeOf(TaskId task);

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_FAKE_WORKER_SERVICE_H_
