#ifndef PENSTOCK_BROKER_RPC_WORK_STREAM_H_
#define PENSTOCK_BROKER_RPC_WORK_STREAM_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "broker/rpc/command_poster.h"
#include "broker/rpc/rpc_context.h"
#include "broker/rpc/work_stream_outbox.h"
#include "common/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "penstock/v1/worker_service.pb.h"

namespace penstock::broker {

// One Work call: a worker's session as long as this stream lives. Requests become SessionInputs, in order and none
// lost: with a full mailbox it stops reading. What the core has for the session goes out in frames.
//
// Requests and responses are bytes to gRPC: a request is parsed into an arena of its own, a response is written without
// a message for each delivery (delivery_wire.h).
//
// Owns itself until OnDone; the ticket table shares it. Locking as in EnqueueStream: StartRead with mu_ held,
// StartWrite and Finish without it by whoever set writing_ or finished_.
class WorkStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                         public Waiter,
                         public OpenCall,
                         private CommandPoster::Owner,
                         public std::enable_shared_from_this<WorkStream> {
 public:
  // The reactor of a new call.
  static WorkStream* Start(RpcContext& context);
  explicit WorkStream(RpcContext& context) : context_(context), poster_(context.door, *this) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void OnSessionMessage(SessionMessage message) override;
  void OnReply(Reply reply) override;
  // The session is not broken: it is resumed when the broker is back, and must not run into its grace meanwhile.
  void Stop() override;

 private:
  // How the core sees this stream.
  enum class Session {
    kNone,  // no hello yet
    kOpen,  // a hello was posted
    kOver,  // ended by the core, or told to it as broken, or left to be resumed after a restart
  };

  void OnAllPosted() override;
  void OnCommandRefused(const absl::Status& status) override;

  // False: the bytes are none.
  bool ParseRequest();
  // The request just read: posts what it says, or ends the stream.
  void TakeRequest();
  absl::Status TakeHello();
  absl::Status TakeInput();
  void Post(Command command, size_t bytes);
  // Nothing more is read; what waits to be sent is dropped. The first end counts.
  void End(const absl::Status& status);
  // Tells the core, once, that the stream ended without the core's doing.
  void LeaveSession();
  void NoteAcknowledged(uint64_t frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  grpc::ByteBuffer ToResponse(const WorkStreamOutbox::Frame& frame) const;
  bool MayWriteLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayReadLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts whatever may be started.
  void Pump();

  RpcContext& context_;
  CommandPoster poster_;
  std::shared_ptr<WorkStream> self_;  // until OnDone
  Ticket ticket_;                     // constant after Start

  // Of whoever reads: between OnReadDone and the next StartRead.
  grpc::ByteBuffer request_bytes_;
  size_t request_size_ = 0;
  std::shared_ptr<v1::WorkRequest> request_;
  // Of whoever set writing_.
  grpc::ByteBuffer response_;

  Mutex mu_;
  WorkStreamOutbox outbox_ ABSL_GUARDED_BY(mu_);
  Session session_ ABSL_GUARDED_BY(mu_) = Session::kNone;
  bool goodbye_ ABSL_GUARDED_BY(mu_) = false;  // was posted
  bool late_acknowledgements_ ABSL_GUARDED_BY(mu_) = false;
  // With late_acknowledgements_: the sizes of requests whose frames were not acknowledged, and their sum.
  std::deque<std::pair<uint64_t, size_t>> unacknowledged_ ABSL_GUARDED_BY(mu_);
  size_t unacknowledged_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool sign_of_life_ ABSL_GUARDED_BY(mu_) = false;  // an empty request came: the worker has nothing else to do
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool taking_ ABSL_GUARDED_BY(mu_) = false;   // request_ is being looked at
  bool posting_ ABSL_GUARDED_BY(mu_) = false;  // what it said waits for room in the mailbox
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mu_);
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_WORK_STREAM_H_
