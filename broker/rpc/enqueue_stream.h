#ifndef PENSTOCK_BROKER_RPC_ENQUEUE_STREAM_H_
#define PENSTOCK_BROKER_RPC_ENQUEUE_STREAM_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "broker/rpc/command_poster.h"
#include "broker/rpc/rpc_context.h"
#include "common/mutex.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::broker {

// One EnqueueStream call: frames in, one answer for each out, in order. It reads while the mailbox has room and not too
// many answers are outstanding; a frame for which there is no room waits, as long as those of all streams together are
// not too much.
//
// Owns itself until OnDone; the ticket table shares it. Reactions and the commit thread come at the same time: what
// they change stands under mu_. StartRead is called with mu_ held (gRPC runs reactions on threads of its own, never
// inside Start...), so that none comes after Finish; StartWrite and Finish, which take longer, are called without it by
// whoever set writing_ or finished_.
class EnqueueStream final : public grpc::ServerBidiReactor<v1::EnqueueStreamRequest, v1::EnqueueStreamResponse>,
                            public Waiter,
                            public OpenCall,
                            private CommandPoster::Owner,
                            public std::enable_shared_from_this<EnqueueStream> {
 public:
  // The reactor of a new call.
  static EnqueueStream* Start(RpcContext& context);
  explicit EnqueueStream(RpcContext& context) : context_(context), poster_(context.door, *this, &context.held_back) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void OnReply(Reply reply) override;
  void Stop() override;

 private:
  struct Frame {
    Ticket ticket;
    uint64_t number = 0;
    size_t task_count = 0;
    size_t bytes = 0;
    bool answered = false;
    v1::EnqueueStreamResponse response;
  };

  void OnAllPosted() override;
  void OnCommandRefused(const absl::Status& status) override;
  bool Wanted() override;

  // The request just read: posts it, answers it or ends the stream.
  void TakeFrame();
  // No further frames; the stream ends with `status` once all are answered.
  void End(const absl::Status& status);
  static void FillAnswer(const absl::Status& status, const EnqueueReply* reply, Frame* frame);
  bool MayReadLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts whatever may be started.
  void Pump();

  RpcContext& context_;
  CommandPoster poster_;
  std::shared_ptr<EnqueueStream> self_;  // until OnDone

  // Of whoever reads: between OnReadDone and the next StartRead.
  v1::EnqueueStreamRequest request_;
  std::string producer_id_;

  Mutex mu_;
  std::deque<Frame> frames_ ABSL_GUARDED_BY(mu_);  // not yet answered on the wire, in order
  size_t tasks_ ABSL_GUARDED_BY(mu_) = 0;          // of frames_
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;          // of frames_
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool taking_ ABSL_GUARDED_BY(mu_) = false;   // a request was read and is not yet with the engine
  bool writing_ ABSL_GUARDED_BY(mu_) = false;  // the front of frames_
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_ENQUEUE_STREAM_H_
