#ifndef PENSTOCK_WORKER_BROKER_SESSION_H_
#define PENSTOCK_WORKER_BROKER_SESSION_H_

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "penstock/v1/worker_service.grpc.pb.h"
#include "worker/executor.h"
#include "worker/options.h"
#include "worker/worker_core.h"

namespace penstock {

// A worker's connection to the broker. Owned by Worker and kept alive by its stream and by handlers that do not return.
//
// Drives the core from the stream's reactions, the handlers' threads and a keeper thread for what is due by time
// (renewals, timeouts, connecting again). One mutex guards the core; nothing is called out to under it but the
// executor's Clear. At most one write is under way, and what gathers meanwhile goes in the next frame.
class BrokerSession : public Executor::Observer, public std::enable_shared_from_this<BrokerSession> {
 public:
  BrokerSession(const WorkerOptions& options, WorkerCore::Options core_options,
                std::vector<std::pair<std::string, int>> types);
  ~BrokerSession() override;

  // InvalidArgument: a TLS file cannot be read.
  absl::Status Start(Executor* executor);
  // Hands nothing more to the executor, and takes nothing.
  void Drain();
  // See Worker::Stop; the executor is stopped by the caller afterwards.
  void Stop(absl::Duration grace);
  // See Worker::Wait.
  absl::Status Wait();
  int running() const;

  std::vector<bool> OnTurn(std::span<Executor::Ended> ended, std::span<const TaskDelivery> next) override;
  void OnProgress(TaskId task, uint64_t token, double percent, std::string text) override;
  void OnLog(TaskId task, uint64_t token, std::string line) override;
  void OnCheckpoint(TaskId task, uint64_t token, std::string checkpoint) override;

 private:
  class Reactor;

  absl::Duration Elapsed() const;
  void Connect() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnRead(Reactor* reactor, v1::WorkResponse* response);
  void TakeWelcome(const v1::Welcome& welcome, std::vector<WorkerCore::Cancel>* cancels)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TakeRefusal(const v1::Refusal& refusal, std::vector<WorkerCore::Cancel>* cancels)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnWriteDone(Reactor* reactor, bool ok);
  void OnEnd(Reactor* reactor);
  void OnDone(Reactor* reactor, const absl::Status& status);
  // The stream's reactor has been deleted.
  void OnGone();
  void Keep();
  void CancelAll(const std::vector<WorkerCore::Cancel>& cancels);
  // Waits until `done` or the time is up. Returns done().
  bool WaitUntil(absl::Duration timeout, const std::function<bool()>& done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const WorkerOptions options_;
  const std::vector<std::pair<std::string, int>> types_;
  Executor* executor_ = nullptr;
  std::unique_ptr<v1::WorkerService::Stub> stub_;

  mutable Mutex mu_;
  CondVar changed_;     // for Stop and Wait
  CondVar keeper_due_;  // for the keeper
  WorkerCore core_ ABSL_GUARDED_BY(mu_);
  std::string session_id_ ABSL_GUARDED_BY(mu_);
  size_t max_result_bytes_ ABSL_GUARDED_BY(mu_) = 1 << 20;
  Reactor* reactor_ ABSL_GUARDED_BY(mu_) = nullptr;
  int reactors_ ABSL_GUARDED_BY(mu_) = 0;   // not deleted yet
  bool ended_ ABSL_GUARDED_BY(mu_) = true;  // the reactor takes no more writes
  bool welcomed_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refused_ ABSL_GUARDED_BY(mu_);     // the broker will not have us, ever
  std::string away_reason_ ABSL_GUARDED_BY(mu_);  // why we are disconnected, as logged
  bool asked_to_drain_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;  // Stop was called
  bool closing_ ABSL_GUARDED_BY(mu_) = false;   // the stream ends and is not opened again
  bool goodbye_ ABSL_GUARDED_BY(mu_) = false;   // to be said
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration reconnect_at_ ABSL_GUARDED_BY(mu_);
  absl::Duration keeper_wakes_at_ ABSL_GUARDED_BY(mu_);
  v1::WorkRequest request_ ABSL_GUARDED_BY(mu_);  // being written while writing_
  std::thread keeper_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_BROKER_SESSION_H_
