#ifndef PENSTOCK_CLIENT_ENQUEUE_STREAM_H_
#define PENSTOCK_CLIENT_ENQUEUE_STREAM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/retry_budget.h"
#include "client/task.h"
#include "common/mutex.h"
#include "grpcpp/channel.h"
#include "penstock/v1/task_service.grpc.pb.h"

namespace penstock {

// Brings enqueues to the broker, many to a message, without anybody having to wait for company: whatever callers handed
// over while the last write was under way goes in the next frame. A frame keeps its number until it is answered; after
// a cut it is sent again under the same number, and the broker, which remembers, answers with the same tasks. So an
// enqueue happens once. The broker does not remember for ever: a frame that it may have forgotten is given up.
//
// A frame is all or nothing at the broker. When one that carries several calls is refused, each call is sent again in a
// frame of its own.
//
// A message that is larger than the broker takes ends the whole stream (RESOURCE_EXHAUSTED). What was in flight is then
// sent again, but for what is too large, which is refused. gRPC's message tells the limit; should it not, those in
// flight are suspects: each travels alone, and one that ends the stream alone again and again is refused.
//
// A broker that is busy refuses frames for a while. They are sent again when it said, plus a pause that grows and is
// drawn, and within the budget of repetitions.
//
// One mutex for everything. Callbacks run on gRPC's threads or the keeper's, or on that of Add or Stop, without the
// mutex and in a CallbackScope.
class EnqueueStream {
 public:
  using Done = std::function<void(absl::StatusOr<std::vector<EnqueueResult>>)>;

  // What only tests change.
  struct Bounds {
    // How long after it was sent first a frame may be sent again. The broker remembers for 10 minutes.
    absl::Duration send_again = absl::Minutes(9);
  };

  EnqueueStream(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel, const Bounds& bounds);
  EnqueueStream(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel)
      : EnqueueStream(options, std::move(channel), Bounds()) {}
  ~EnqueueStream() { Stop(); }

  // One call: tasks that are stored together or not at all. Blocks while too much is on its way, until the deadline; in
  // a CallbackScope never. `done` is called once.
  void Add(std::vector<v1::TaskSpec> tasks, absl::Time deadline, Done done);
  // Fails what is under way, and what comes later, with Cancelled; waits for callbacks under way. Safe twice.
  void Stop();

 private:
  struct Call {
    int tasks = 0;
    size_t bytes = 0;  // in a frame
    absl::Time deadline;
    Done done;  // null: answered
  };
  struct Frame {
    v1::EnqueueStreamRequest request;
    std::vector<Call> calls;
    size_t bytes = 0;                                // of the calls
    absl::Time not_before = absl::InfinitePast();    // the broker asked for patience
    absl::Time first_sent = absl::InfiniteFuture();  // the first time that may have brought it to the broker
    bool sent = false;                               // on this stream
    bool written = false;                            // on this stream, as far as gRPC knows
    absl::Status refusal;                            // of the broker's, that asked to send the frame again
    int refusals = 0;                                // in a row
    bool perhaps_stored = false;                     // sent without an answer that says what became of it
    bool suspect = false;                            // was in flight when a stream ended over one of its frames
    int ended_alone = 0;                             // streams that ended with nothing but this in flight
  };
  class Reactor;
  using Answer = std::pair<Done, absl::StatusOr<std::vector<EnqueueResult>>>;
  using Answers = std::vector<Answer>;

  void Append(std::vector<v1::TaskSpec> tasks, Call call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Seal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The frame being filled is not worth a message yet.
  bool MayGrow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the next write if the stream is free and there is one.
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The frame to write next, of those that are sealed; null: none. `wait`: nothing else may be written either.
  std::shared_ptr<Frame> NextSealed(bool* wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayBeSentAgain(const Frame& frame, absl::Time now) const { return now < frame.first_sent + bounds_.send_again; }

  void OnWriteDone(Reactor* reactor, bool ok);
  void OnEnd(Reactor* reactor);
  void OnRead(Reactor* reactor, v1::EnqueueStreamResponse& response);
  void OnDone(Reactor* reactor, const absl::Status& status);
  void Answered(std::shared_ptr<Frame> frame, v1::EnqueueStreamResponse& response, Answers* answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The stream ended because a message was too large, or so it seems.
  void OnRefused(const absl::Status& status, Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The stream ended for any other reason.
  void OnCut(const absl::Status& status, Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What becomes of a frame that was refused and is not in frames_ any more. A frame of one call: it fails. Otherwise
  // each call is sent again in a frame of its own.
  void RefuseOrSplit(Frame& frame, const absl::Status& why, Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FailCalls(Frame& frame, const absl::Status& status, Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  void Connect() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Connects if there is no stream, something to send, and no pause.
  void MaybeConnect() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FailAll(const absl::Status& status, Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Fails the calls whose time is up, those whose time will be up before the frame may be sent again, and those of
  // frames that may not be sent again.
  void FailOverdue(absl::Time now, Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Connects again, sends what was to wait, fails calls whose time is up.
  void Keep();
  static void Deliver(Answers& answers);

  const ClientOptions options_;
  const Bounds bounds_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::TaskService::Stub> stub_;
  const std::string producer_id_;

  Mutex mu_;
  CondVar room_;     // bytes_ fell
  CondVar changed_;  // the reactor's end, work for the keeper
  uint64_t next_number_ ABSL_GUARDED_BY(mu_) = 1;
  std::shared_ptr<Frame> filling_ ABSL_GUARDED_BY(mu_);
  // Sealed and not answered, in the order of their numbers.
  std::deque<std::shared_ptr<Frame>> frames_ ABSL_GUARDED_BY(mu_);
  size_t unsent_ ABSL_GUARDED_BY(mu_) = 0;      // of frames_, those not sent on this stream
  bool suspects_ ABSL_GUARDED_BY(mu_) = false;  // there may be some in frames_
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // The largest message that the broker takes, once it has refused one; forgotten with the connection.
  size_t message_max_ ABSL_GUARDED_BY(mu_) = std::numeric_limits<size_t>::max();
  Reactor* reactor_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // the reactor takes no more writes
  std::shared_ptr<Frame> writing_ ABSL_GUARDED_BY(mu_);
  bool connected_ ABSL_GUARDED_BY(mu_) = false;  // the stream has answered
  int failures_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time reconnect_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  RetryBudget budget_ ABSL_GUARDED_BY(mu_);
  absl::Status last_error_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread keeper_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_ENQUEUE_STREAM_H_
