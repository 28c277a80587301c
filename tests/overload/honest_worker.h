#ifndef PENSTOCK_TESTS_OVERLOAD_HONEST_WORKER_H_
#define PENSTOCK_TESTS_OVERLOAD_HONEST_WORKER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "common/mutex.h"
#include "grpcpp/grpcpp.h"
#include "penstock/v1/worker_service.grpc.pb.h"
#include "tests/overload/ledger.h"

namespace penstock::overload {

// A worker that completes every task as it comes, and measures how long the broker takes to acknowledge that. Speaks
// the protocol by itself: the runtime would not tell.
class HonestWorker {
 public:
  HonestWorker(const std::string& address, Ledger& ledger);
  ~HonestWorker();  // says goodbye

 private:
  // One frame of outcomes that was not acknowledged yet.
  struct Sent {
    absl::Time at;
    std::vector<uint64_t> serials;
  };

  void Read();
  // Tells the broker that it lives, also when there is nothing to do.
  void Renew();
  void Hear(const v1::WorkResponse& response);
  void Write(const v1::WorkRequest& request);

  Ledger& ledger_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkRequest, v1::WorkResponse>> stream_;
  // Of the reading thread:
  uint64_t last_frame_ = 0;
  std::map<uint64_t, Sent> sent_;

  Mutex write_mu_;
  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread reader_;
  std::thread renewer_;
};

}  // namespace penstock::overload

#endif  // PENSTOCK_TESTS_OVERLOAD_HONEST_WORKER_H_
