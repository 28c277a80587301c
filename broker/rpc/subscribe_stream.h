#ifndef PENSTOCK_BROKER_RPC_SUBSCRIBE_STREAM_H_
#define PENSTOCK_BROKER_RPC_SUBSCRIBE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/rpc/command_poster.h"
#include "broker/rpc/rpc_context.h"
#include "common/mutex.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// One SubscribeTasks call: tasks of a queue as they finish, many to a message. What comes while a message is being
// written waits here, up to a limit; what comes beyond it is counted and told as missed, so that a slow reader holds no
// memory and never holds the broker up. Owns itself until OnDone.
class SubscribeStream final : public grpc::ServerWriteReactor<v1::SubscribeTasksResponse>,
                              public OpenCall,
                              public Waiter,
                              private CommandPoster::Owner,
                              public std::enable_shared_from_this<SubscribeStream> {
 public:
  // The reactor of a new call, which may be one that ends at once.
  static grpc::ServerWriteReactor<v1::SubscribeTasksResponse>* Start(RpcContext& context,
                                                                     const v1::SubscribeTasksRequest& request);
  SubscribeStream(RpcContext& context, const v1::SubscribeTasksRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void OnReply(Reply reply) override;
  void OnTaskEvent(TaskEvent event) override;
  // The queue was deleted.
  void OnWatchEvent(WatchEvent event) override;
  void Stop() override;

 private:
  void Subscribe();
  bool Wants(State state) const;
  // Writes what waits if nothing is being written.
  void WriteNext();
  // The core has no such subscription, or none any more.
  void Refused(const absl::Status& status);
  // The first end counts; it comes after the write that is under way.
  void End(const absl::Status& status);

  RpcContext& context_;
  CommandPoster poster_;
  const std::string queue_;
  const std::string type_;
  const std::vector<int> states_;          // none: all
  std::shared_ptr<SubscribeStream> self_;  // until OnDone
  Ticket ticket_;                          // constant after Subscribe
  v1::SubscribeTasksResponse response_;    // of whoever set writing_

  Mutex mu_;
  std::deque<TaskEvent> events_ ABSL_GUARDED_BY(mu_);
  uint64_t missed_ ABSL_GUARDED_BY(mu_) = 0;
  bool known_ ABSL_GUARDED_BY(mu_) = false;  // to the core, or will be
  bool greet_ ABSL_GUARDED_BY(mu_) = false;  // the empty first message is to be sent
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_SUBSCRIBE_STREAM_H_
