#ifndef PENSTOCK_TESTS_SIMULATION_SIM_BULK_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_BULK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/rpc/bulk_core.h"
#include "broker/rpc/task_source.h"
#include "tests/simulation/sim_loop.h"

namespace penstock::broker {

class SimBroker;
class SimWorld;

// The bulk jobs of one broker process in virtual time: the real core of them, and the real walk, filter and reader,
// driven as BulkJobs drives them, with events for its thread and for the read pool. Shared by what is under way in it;
// the world lets go of it when the process ends.
class SimBulk final : public TaskSource, public std::enable_shared_from_this<SimBulk> {
 public:
  SimBulk(SimWorld& world, SimBroker& broker, uint64_t seed);

  BulkCore& core() { return core_; }
  void Start(BulkOrder order, BulkCore::Done done);
  void End(const std::string& id, BulkCore::Done done);

  void EnterEngine();
  // The engine alone is gone.
  void LeaveEngine();
  // So is the process: nothing of it does anything any more.
  void Die();
  // SIGTERM: `idle` is called once the engine may be stopped.
  void BeginStop(std::function<void()> idle);
  // News, or the clock was set.
  void Wake();

  // True: somebody here asked for that.
  bool Hear(Reply* reply);

  void Ask(Command command, size_t bytes, std::function<void(Reply)> done) override;
  absl::Status Read(std::function<void(std::unique_ptr<TaskReader>)> read) override;

 private:
  void ScheduleStep(Span when);
  void Step();
  void Do(BulkEffects effects);
  template <class Tell>
  void Told(Tell tell);
  // Calls `then` after a while, unless the process is gone by then.
  void Later(Span delay, std::function<void()> then);

  SimWorld& world_;
  SimLoop& loop_;
  SimBroker& broker_;
  SimRandom random_;
  BulkCore core_;
  std::map<Ticket, std::function<void(Reply)>> asked_;
  std::function<void()> idle_;
  bool dead_ = false;
  uint64_t step_ = 0;  // the newest scheduled one; earlier ones are void
  Span step_at_ = kNever;
};

// Who starts bulk jobs, looks at them, and stops some.
class SimBulkClient {
 public:
  explicit SimBulkClient(SimWorld& world);

  void Start() { Later(); }
  // Every call has its answer, and every job that it knows of has ended.
  bool idle() const { return open_ == 0; }

 private:
  struct Attempt {
    v1::StartBulkJobRequest request;
    uint64_t call = 0;
    int tries = 0;
    bool unsure = false;
    Span since = 0;
  };
  void Later();
  void Act();
  void Begin();
  void Try(std::shared_ptr<Attempt> attempt);
  void Hear(const std::shared_ptr<Attempt>& attempt, const absl::StatusOr<v1::BulkJob>& answer);
  void Stop(const std::string& id);
  // Looks at a job again and again until it has ended.
  void Follow(const std::string& id, Span pause);
  void Saw(const v1::BulkJob& job);

  SimWorld& world_;
  SimLoop& loop_;
  SimRandom random_;
  std::vector<std::string> jobs_;
  uint64_t next_request_ = 1;
  int begun_ = 0;
  int open_ = 0;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_BULK_H_
