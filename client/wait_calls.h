#ifndef PENSTOCK_CLIENT_WAIT_CALLS_H_
#define PENSTOCK_CLIENT_WAIT_CALLS_H_

#include <functional>
#include <list>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/retry_budget.h"
#include "client/task.h"
#include "common/mutex.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "penstock/v1/task_service.grpc.pb.h"

namespace penstock {

// Waits for tasks to end, for any number of callers and without a thread for each: every wait is an asynchronous call
// to the broker, made again when it was answered too early or its broker was away.
//
// A broker takes so many calls on a connection (1,000) and no more; the next would wait for one of them to end, and be
// it an enqueue. So the waits that are many have connections of their own.
//
// One mutex for everything. Callbacks run on gRPC's threads or the keeper's, without the mutex.
class WaitCalls {
 public:
  using Done = std::function<void(absl::StatusOr<TaskInfo>)>;
  using Connect = std::function<std::shared_ptr<grpc::Channel>()>;

  // The first waits share `channel`; `connect` makes others like it.
  WaitCalls(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel, Connect connect);
  ~WaitCalls() { Stop(); }

  // `done` is called once: with the task when it is finished or the deadline has passed, or with an error.
  void Add(TaskId task, absl::Time deadline, Done done);
  // Fails what is under way, and what comes later, with Cancelled; waits for callbacks under way. Safe twice.
  void Stop();

 private:
  struct Connection {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::TaskService::Stub> stub;
    int waits = 0;
  };
  struct Wait {
    absl::Time deadline;
    Done done;
    Connection* connection = nullptr;
    int failures = 0;
    bool refused = false;                          // by a broker that was busy, the last time
    std::unique_ptr<grpc::ClientContext> context;  // null: no call is under way
    absl::Time again_at = absl::InfiniteFuture();  // finite: it pauses
    v1::WaitTaskRequest request;
    v1::WaitTaskResponse response;
  };
  using Waits = std::list<Wait>;

  Connection* FindConnection() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Call(Waits::iterator wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnAnswer(Waits::iterator wait, const absl::Status& status);
  // Whether the wait is over, and with what; if not, it goes on.
  bool IsOver(Waits::iterator wait, const absl::Status& status, absl::StatusOr<TaskInfo>* result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Finish(Waits::iterator wait, absl::StatusOr<TaskInfo> result);
  // Calls again where a pause is over.
  void Keep();

  const ClientOptions options_;
  const Connect connect_;

  Mutex mu_;
  CondVar ended_;   // a wait was removed
  CondVar paused_;  // work for the keeper
  std::list<Connection> connections_ ABSL_GUARDED_BY(mu_);
  Waits waits_ ABSL_GUARDED_BY(mu_);  // until their callback has returned
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  RetryBudget budget_ ABSL_GUARDED_BY(mu_);
  std::thread keeper_ ABSL_GUARDED_BY(mu_);  // from the first pause on
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_WAIT_CALLS_H_
