#ifndef PENSTOCK_BROKER_RPC_BULK_JOBS_H_
#define PENSTOCK_BROKER_RPC_BULK_JOBS_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/rpc/bulk_core.h"
#include "broker/rpc/convert_bulk.h"
#include "broker/rpc/rpc_context.h"
#include "broker/rpc/task_source.h"
#include "common/mutex.h"
#include "penstock/v1/bulk_service.pb.h"

namespace penstock::broker {

// Keeps the bulk jobs and runs them (bulk_core.h), on a thread of its own, which waits for nothing but time and news:
// it posts small commands like any caller, a bounded number at a time, and reads in the pool like any list. Here is
// only what takes threads.
//
// Owned by the edge; any thread may call it. The callbacks that it gives away come back before the engine has stopped,
// which is before it is destroyed.
class BulkJobs {
 public:
  using Options = BulkCore::Options;
  using Done = BulkCore::Done;
  using Figures = BulkCore::Figures;

  BulkJobs(RpcContext& context, const Options& options);
  ~BulkJobs() { Stop(); }
  BulkJobs(const BulkJobs&) = delete;
  BulkJobs& operator=(const BulkJobs&) = delete;

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
  void Run();
  // Does what the core wants done, without the lock.
  void Do(BulkEffects effects);
  // Tells the core what came of it.
  template <class Tell>
  void Hear(Tell tell);

  RpcContext& context_;
  const std::shared_ptr<TaskSource> source_;

  mutable Mutex mu_;
  CondVar changed_;
  BulkCore core_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BULK_JOBS_H_
