#ifndef PENSTOCK_BROKER_RPC_WATCH_STREAM_H_
#define PENSTOCK_BROKER_RPC_WATCH_STREAM_H_

#include <memory>
#include <optional>

#include "broker/rpc/rpc_context.h"
#include "broker/rpc/task_watch.h"
#include "common/mutex.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// One WatchTask call: the task as it is, then as it becomes, until it is finished. A reader that is slower than the
// changes sees the newest (TaskWatch keeps it). Owns itself until OnDone.
class WatchStream final : public grpc::ServerWriteReactor<v1::WatchTaskResponse>,
                          public OpenCall,
                          public TaskWatch::Listener,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  // The reactor of a new call. REQUIRES: the request was checked.
  static WatchStream* Start(RpcContext& context, TaskId task);
  explicit WatchStream(RpcContext& context) : context_(context) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void OnTask(v1::Task task, bool finished) override;
  void OnWatchFailed(const absl::Status& status) override;
  void Stop() override;

 private:
  // The first end counts; it comes after the write that is under way.
  void End(const absl::Status& status);

  RpcContext& context_;
  std::shared_ptr<WatchStream> self_;  // until OnDone
  std::shared_ptr<TaskWatch> watch_;   // constant after Start
  v1::WatchTaskResponse response_;     // of whoever set writing_

  Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WATCH_STREAM_H_
