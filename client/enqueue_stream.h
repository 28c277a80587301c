#ifndef PENSTOCK_CLIENT_ENQUEUE_STREAM_H_
#define PENSTOCK_CLIENT_ENQUEUE_STREAM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/task.h"
#include "common/mutex.h"
#include "grpcpp/channel.h"
#include "penstock/v1/task_service.grpc.pb.h"

namespace penstock {

// Brings enqueues to the broker, many to a message, without anybody having to wait for company: whatever callers handed
// over while the last write was under way goes in the next frame. A frame keeps its number until it is answered; after
// a cut it is sent again under the same number, and the broker, which remembers, answers with the same tasks. So an
// enqueue happens once.
//
// A frame is all or nothing at the broker. When one that carries several calls is refused, each call is sent again in a
// frame of its own.
//
// One mutex for everything. Callbacks run on gRPC's threads or the keeper's, without the mutex.
class EnqueueStream {
 public:
  using Done = std::function<void(absl::StatusOr<std::vector<EnqueueResult>>)>;

  EnqueueStream(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel);
  // Fails what is under way with Cancelled.
  ~EnqueueStream();

  // One call: tasks that are stored together or not at all. Blocks while too much is on its way, until the deadline.
  // `done` is called once.
  void Add(std::vector<v1::TaskSpec> tasks, absl::Time deadline, Done done);

 private:
  struct Call {
    int tasks = 0;
    absl::Time deadline;
    Done done;  // null: answered
  };
  struct Frame {
    v1::EnqueueStreamRequest request;
    std::vector<Call> calls;
    size_t bytes = 0;
    absl::Time not_before = absl::InfinitePast();  // the broker asked for patience
    bool sent = false;
    absl::Status refusal;         // of the broker's, that asked to send the frame again
    bool perhaps_stored = false;  // sent once without an answer that says what became of it
  };
  class Reactor;
  using Answer = std::pair<Done, absl::StatusOr<std::vector<EnqueueResult>>>;

  void Append(std::vector<v1::TaskSpec> tasks, size_t bytes, Call call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Seal() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the next write if the stream is free and there is one.
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnWriteDone(Reactor* reactor, bool ok);
  void OnEnd(Reactor* reactor);
  void OnRead(Reactor* reactor, v1::EnqueueStreamResponse& response);
  void OnDone(Reactor* reactor, const absl::Status& status);
  void Answered(std::shared_ptr<Frame> frame, v1::EnqueueStreamResponse& response, std::vector<Answer>* answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Connect() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FailAll(const absl::Status& status, std::vector<Answer>* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Fails the calls whose time is up, and those whose time will be up before the frame may be sent again.
  void FailOverdue(absl::Time now, std::vector<Answer>* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Connects again, sends what was to wait, fails calls whose time is up.
  void Keep();
  static void Deliver(std::vector<Answer>& answers);

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::TaskService::Stub> stub_;
  const std::string producer_id_;

  Mutex mu_;
  CondVar changed_;  // room, the reactor's end, work for the keeper
  uint64_t next_number_ ABSL_GUARDED_BY(mu_) = 1;
  std::shared_ptr<Frame> filling_ ABSL_GUARDED_BY(mu_);
  // Sealed and not answered, in the order of their numbers.
  std::deque<std::shared_ptr<Frame>> frames_ ABSL_GUARDED_BY(mu_);
  size_t unsent_ ABSL_GUARDED_BY(mu_) = 0;  // of frames_, those not sent on this stream
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  Reactor* reactor_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // the reactor takes no more writes
  std::shared_ptr<Frame> writing_ ABSL_GUARDED_BY(mu_);
  bool connected_ ABSL_GUARDED_BY(mu_) = false;  // the stream has answered, or has taken a frame
  int failures_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time reconnect_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  absl::Status last_error_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread keeper_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_ENQUEUE_STREAM_H_
