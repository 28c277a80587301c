#include "client/grpc_subscriber.h"

#include <utility>

#include "client/backoff.h"
#include "client/call_status.h"
#include "client/task_spec.h"
#include "common/status.h"

namespace penstock {

GrpcSubscriber::GrpcSubscriber(const ClientOptions& options, std::shared_ptr<v1::TaskService::Stub> stub,
                               const std::string& queue, const SubscribeOptions& subscribe, SubscribeCallback told) {
  v1::SubscribeTasksRequest request;
  request.set_queue(queue);
  request.set_type(subscribe.type);
  for (TaskState state : subscribe.states) request.add_states(static_cast<v1::TaskState>(state));
  thread_ = std::thread([shared = shared_, options, stub = std::move(stub), request, told = std::move(told)] {
    Read(*shared, options, *stub, request, told);
  });
}

GrpcSubscriber::~GrpcSubscriber() {
  {
    MutexLock lock(shared_->mu);
    shared_->stopped = true;
    if (shared_->context != nullptr) shared_->context->TryCancel();
    shared_->stopped_now.SignalAll();
  }
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // Destroyed by the callback itself.
  } else {
    thread_.join();
  }
}

void GrpcSubscriber::Read(Shared& shared, const ClientOptions& options, v1::TaskService::Stub& stub,
                          const v1::SubscribeTasksRequest& request, const SubscribeCallback& told) {
  bool gap = false;
  for (int failures = 0;;) {
    bool heard = false;
    absl::Status status = ReadOnce(shared, options, stub, request, told, gap, &heard);
    if (shared.Stopped()) return;
    // A stream that just ends: the broker stopped.
    const bool away = status.ok() || absl::IsUnavailable(status);
    if (!away || (!heard && !gap && options.when_unavailable == WhenUnavailable::kFailFast)) {
      return told(away ? Annotate(status, "broker at " + options.broker) : status);
    }
    if (heard) {
      failures = 0;
      gap = true;
    }
    const absl::Duration pause = Backoff(options, ++failures);
    MutexLock lock(shared.mu);
    if (!shared.stopped) shared.stopped_now.WaitFor(shared.mu, pause);
    if (shared.stopped) return;
  }
}

absl::Status GrpcSubscriber::ReadOnce(Shared& shared, const ClientOptions& options, v1::TaskService::Stub& stub,
                                      const v1::SubscribeTasksRequest& request, const SubscribeCallback& told, bool gap,
                                      bool* heard) {
  grpc::ClientContext context;
  context.set_wait_for_ready(options.when_unavailable == WhenUnavailable::kWait);
  {
    MutexLock lock(shared.mu);
    if (shared.stopped) return absl::CancelledError("");
    shared.context = &context;
  }
  auto reader = stub.SubscribeTasks(&context, request);
  v1::SubscribeTasksResponse response;
  while (reader->Read(&response)) {
    SubscriptionUpdate update;
    // The first message says only that the subscription counts from now on.
    update.gap = gap && !*heard;
    *heard = true;
    update.missed = response.missed();
    for (const v1::TaskEvent& event : response.events()) update.tasks.push_back(ToFinishedTask(event));
    if (update.tasks.empty() && update.missed == 0 && !update.gap) continue;
    if (shared.Stopped()) break;
    told(std::move(update));
  }
  const grpc::Status status = reader->Finish();
  MutexLock lock(shared.mu);
  shared.context = nullptr;
  return CallStatus(status);
}

}  // namespace penstock
