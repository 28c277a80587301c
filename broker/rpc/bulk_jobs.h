#ifndef PENSTOCK_BROKER_RPC_BULK_JOBS_H_
#define PENSTOCK_BROKER_RPC_BULK_JOBS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/rpc/bulk_job.h"
#include "broker/rpc/convert_bulk.h"
#include "broker/rpc/rpc_context.h"
#include "broker/rpc/task_walk.h"
#include "common/mutex.h"
#include "penstock/v1/bulk_service.pb.h"

namespace penstock::broker {

// Keeps the bulk jobs and runs them, on a thread of its own, which waits for nothing but time and news: it posts small
// commands like any caller, a bounded number at a time, and reads in the pool like any list. A job's record is stored
// before each page of changes; so jobs go on after a restart, and after an engine that was started anew.
//
// Owned by the edge; any thread may call it. The callbacks that it gives away come back before the engine has stopped,
// which is before it is destroyed.
class BulkJobs {
 public:
  struct Options {
    size_t running_max = 16;  // limits.bulk_jobs
    bool runs = true;         // false: shows the jobs of a broker that is not running (a paused fork)
  };
  using Done = BulkJob::Done;

  BulkJobs(RpcContext& context, const Options& options);
  ~BulkJobs() { Stop(); }
  BulkJobs(const BulkJobs&) = delete;
  BulkJobs& operator=(const BulkJobs&) = delete;

  // What metrics tell, since the broker started.
  struct Figures {
    uint64_t running = 0;  // now
    // Jobs that ended.
    uint64_t done = 0;
    uint64_t stopped = 0;
    uint64_t failed = 0;
    struct Tasks {
      uint64_t changed = 0;
      uint64_t skipped = 0;  // could not be: they had begun to run, or were finished, meanwhile
    };
    std::map<v1::BulkAction, Tasks> tasks;  // of every action that a job had
  };
  Figures figures() const;

  // Begins a job. `done` is called once: with the job as soon as its record is on disk, or with an error.
  void Start(BulkOrder order, Done done);
  absl::StatusOr<v1::BulkJob> Get(const std::string& id) const;
  // The newest first.
  absl::StatusOr<std::vector<v1::BulkJob>> List() const;
  // Ends a job where it is; `done` is called once its record says so.
  void End(const std::string& id, Done done);

  // An engine runs: reads the records of its store, and goes on with what they say. Not at the same time as Leave.
  void EnterEngine();
  // The engine is gone, and what was posted to it has been answered. Whoever waits hears that the broker is away.
  void LeaveEngine();
  // The clock was moved by hand.
  void LookAtClock();

  // Lets what is under way end, stores what is left to do, and joins the thread. REQUIRES: the engine answers still.
  // Safe twice.
  void Stop();

 private:
  using Job = std::shared_ptr<BulkJob>;
  using Move = std::function<void()>;
  using Waiting = std::vector<Done>;
  struct Inquiry;

  void Run();
  // What is to be done now, without the lock; and how long until there may be more.
  absl::Duration CollectLocked(std::vector<Move>* moves) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration AdvanceLocked(const Job& job, std::vector<Move>* moves) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration ChangeLocked(const Job& job, std::vector<Move>* moves) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetLocked(std::vector<Move>* moves) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndLocked(const Job& job, v1::BulkJobState state, std::vector<Move>* moves) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Nothing is under way that would come back.
  bool IdleLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What comes of an error that is nobody's fault: the job waits. False: it is another error.
  bool WaitsLocked(const Job& job, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  size_t RunningLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountLocked(const v1::BulkJobSpec& spec, uint64_t changed, uint64_t skipped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Job> FindLocked(const std::string& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Stores `record`, and calls `done` with what came of it.
  void Put(const std::string& id, std::string record, std::function<void(absl::Status)> done);
  void Look(const Job& job, std::shared_ptr<const TaskFilter> filter, const PageToken& from, uint32_t page_size);
  void Change(const Job& job, const v1::BulkJobSpec& spec, TaskId task);
  void Inquire(const Job& job, const std::vector<TaskId>& tasks);
  void AskForRoom();

  void OnStarted(const Job& job, const absl::Status& status);
  void OnPage(const Job& job, absl::StatusOr<TaskPage> page);
  void OnKept(const Job& job, const absl::Status& status);
  void OnEnded(const Job& job, const absl::Status& status);
  void OnChanged(const Job& job, TaskId task, const absl::Status& status);
  void OnInquired(const std::shared_ptr<Inquiry>& inquiry);
  absl::StatusOr<std::vector<BulkFate>> ReadFates(const Inquiry& inquiry);

  RpcContext& context_;
  const Options options_;

  mutable Mutex mu_;
  CondVar changed_;
  std::map<std::string, Job> jobs_ ABSL_GUARDED_BY(mu_);  // by id, which begins with when it began
  Figures figures_ ABSL_GUARDED_BY(mu_);                  // `running` apart
  bool here_ ABSL_GUARDED_BY(mu_) = false;                // an engine runs
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool room_asked_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration forget_next_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  std::thread thread_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BULK_JOBS_H_
