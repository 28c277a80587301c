#ifndef PENSTOCK_BROKER_RPC_WAIT_CALL_H_
#define PENSTOCK_BROKER_RPC_WAIT_CALL_H_

#include <memory>

#include "broker/rpc/rpc_context.h"
#include "broker/rpc/task_watch.h"
#include "common/mutex.h"
#include "grpcpp/alarm.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// One WaitTask call: ends with the task, the timeout, the caller or the broker, whichever comes first. Owns itself
// until OnDone.
class WaitCall final : public grpc::ServerUnaryReactor,
                       public OpenCall,
                       public TaskWatch::Listener,
                       public std::enable_shared_from_this<WaitCall> {
 public:
  // The reactor of a new call. REQUIRES: the request was checked.
  static WaitCall* Start(RpcContext& context, TaskId task, absl::Duration timeout, v1::WaitTaskResponse* response);
  WaitCall(RpcContext& context, TaskId task, v1::WaitTaskResponse* response)
      : context_(context), task_(task), response_(*response) {}

  void OnCancel() override;
  void OnDone() override;
  void OnTask(v1::Task task, bool finished) override;
  void OnWatchFailed(const absl::Status& status) override;
  void Stop() override;

 private:
  // Answers the task as it is now.
  void OnTimeout();
  void AnswerCurrent(const TaskSnapshot& snapshot);
  // True for the first who asks: the one who ends the call.
  bool Claim();
  void Answer(v1::Task task, bool finished);
  void End(const absl::Status& status);

  RpcContext& context_;
  const TaskId task_;
  v1::WaitTaskResponse& response_;
  std::shared_ptr<WaitCall> self_;    // until OnDone
  std::shared_ptr<TaskWatch> watch_;  // constant after Start
  grpc::Alarm alarm_;

  Mutex mu_;
  bool claimed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WAIT_CALL_H_
