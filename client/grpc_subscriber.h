#ifndef PENSTOCK_CLIENT_GRPC_SUBSCRIBER_H_
#define PENSTOCK_CLIENT_GRPC_SUBSCRIBER_H_

#include <memory>
#include <string>
#include <thread>

#include "client/client_options.h"
#include "client/subscription.h"
#include "common/mutex.h"
#include "grpcpp/client_context.h"
#include "penstock/v1/task_service.grpc.pb.h"

namespace penstock {

// A thread that reads a subscription, and makes it anew when the broker was away. The handle of Client::Subscribe.
class GrpcSubscriber {
 public:
  GrpcSubscriber(const ClientOptions& options, std::shared_ptr<v1::TaskService::Stub> stub, const std::string& queue,
                 const SubscribeOptions& subscribe, SubscribeCallback told);
  // Waits for a call of the callback that is under way, unless it comes from there.
  ~GrpcSubscriber();

 private:
  // Shared with the thread, which may outlive the handle.
  struct Shared {
    Mutex mu;
    CondVar stopped_now;
    bool stopped ABSL_GUARDED_BY(mu) = false;
    grpc::ClientContext* context ABSL_GUARDED_BY(mu) = nullptr;  // of the call under way

    bool Stopped() {
      MutexLock lock(mu);
      return stopped;
    }
  };
  static void Read(Shared& shared, const ClientOptions& options, v1::TaskService::Stub& stub,
                   const v1::SubscribeTasksRequest& request, const SubscribeCallback& told);
  // One call. `heard`: it has answered. `gap`: to be told with the first update.
  static absl::Status ReadOnce(Shared& shared, const ClientOptions& options, v1::TaskService::Stub& stub,
                               const v1::SubscribeTasksRequest& request, const SubscribeCallback& told, bool gap,
                               bool* heard);

  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_GRPC_SUBSCRIBER_H_
