#ifndef PENSTOCK_TESTS_SIMULATION_SIM_WORLD_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_WORLD_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/rpc/bulk_job.h"
#include "tests/checker/checker.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_config.h"
#include "tests/simulation/sim_loop.h"

namespace penstock::broker {

class SimBulk;
class SimBulkClient;
class SimProducer;
class SimOperator;
class SimWorker;

struct SimProblem {
  std::string rule;
  std::string what;
};

// A broker, its clients and workers, the network between them, and what goes wrong with them: one seed, one thread. In
// the safety phase everything may fail; in the liveness phase nothing does, and everything must come to its end. What
// clients and workers saw is judged by tests/checker.
class SimWorld : private SimBroker::Edge {
 public:
  explicit SimWorld(const SimConfig& config, bool record_script = false);
  ~SimWorld() override;

  void Run();

  const std::vector<SimProblem>& problems() const { return problems_; }
  const histcheck::History& history() const { return history_; }
  const Coverage& coverage() const { return coverage_; }
  uint64_t trace_hash() const { return loop_.trace_hash(); }
  uint64_t events() const { return loop_.events(); }
  Span span() const { return loop_.now(); }
  std::string Script(size_t lines) { return broker_.script()->Text(lines); }

  // --- for clients and workers ---
  const SimConfig& config() const { return config_; }
  bool has(Feature feature) const { return config_.has(feature); }
  SimLoop& loop() { return loop_; }
  SimClock& clock() { return clock_; }
  void Cover(Point point) { ++coverage_[static_cast<size_t>(point)]; }
  bool quiet() const { return quiet_; }
  // A history line; the caller fills the rest.
  histcheck::Event& Log(histcheck::Op op, const std::string& who = {});
  uint64_t NextNumber() { return next_number_++; }
  Ticket NextTicket() { return Ticket(next_ticket_++); }
  const std::vector<std::string>& queues() const { return queues_; }
  const std::vector<std::string>& types() const { return types_; }

  // A unary call. `done` is called once, with the broker's reply, or with what became of the call instead.
  using Done = std::function<void(const absl::Status&, const Reply*)>;
  void Call(Command command, size_t bytes, Span timeout, Done done);
  // The same of a call about bulk jobs, which `ask` makes in the broker.
  using AskBulk = std::function<void(SimBulk&, BulkJob::Done)>;
  void CallBulk(AskBulk ask, Span timeout, std::function<void(const absl::StatusOr<v1::BulkJob>&)> done);
  SimOperator& queue_operator() { return *operator_; }
  // A history line of what was told of a job.
  void LogBulk(const v1::BulkJob& job, const std::string& who);
  // A call whose answers go on: `event` until the watch is over.
  void Watch(TaskId task, bool only_end);

  // Streams of workers; a stream's messages keep their order.
  Ticket OpenStream(SimWorker* worker);
  void Send(Ticket stream, Command command);
  // The connection is gone: what is on its way is lost. The broker hears of it after `broker_after`; kNever: not.
  void CutStream(Ticket stream, Span broker_after);
  // The history's time when the core gave out the lease with this token.
  Time GivenOut(FencingToken token) const {
    auto found = given_out_.find(token.value());
    return found == given_out_.end() ? 0 : found->second;
  }
  // A welcome came to its worker: the session surely exists.
  void Welcomed(Ticket stream);

 private:
  struct Stream {
    SimWorker* worker = nullptr;
    bool cut = false;
    bool opened = false;  // the broker took its first command
    Span heard = 0;
    std::deque<Command> to_broker;
    Span last_to_broker = 0;
    std::deque<SessionMessage> to_worker;
    Span last_to_worker = 0;
  };
  struct Vouch {
    bool any = false;
    Span until = 0;
    Span logged = 0;
    Ticket stream;  // that the broker knows
  };
  struct Watcher {
    TaskId task;
    State state = State::kAvailable;
    bool known = false;
  };

  void OnGivenOut(const Effects& effects) override;
  void OnEffects(Effects effects) override;
  void OnUp() override;
  void OnDown(bool engine_only) override;
  void OnProblem(std::string rule, std::string what) override;

  // SIGTERM.
  void StopBroker();
  bool BulkJobsEnded() const;

  Span Delay();
  bool Lost() { return !quiet_ && network_.Percent(config_.loss_percent); }
  void ArriveAtBroker(Ticket stream);
  void ArriveAtWorker(Ticket stream);
  void BreakAtBroker(Ticket stream);
  void SetVouch(const std::string& worker, Span until);
  void Heard(Stream* stream);
  void HearWatch(Ticket ticket, const absl::Status& status, const TaskSnapshot& snapshot, bool event);

  void FaultTick();
  void CheckTick();
  void BeginQuiet();
  void PollDrained();
  void Finish();
  void LogEnd();
  // How a task is at the end.
  struct EndState {
    std::string state;
    DeadReason reason = DeadReason::kNone;
    Time end_time = 0;
  };
  EndState StateOf(TaskId task);
  void ExpectNothingLeft();
  void Judge();

  const SimConfig config_;
  SimLoop loop_;
  SimClock clock_;
  Coverage coverage_{};
  SimRandom network_;
  SimRandom faults_;
  std::vector<std::string> queues_;
  std::vector<std::string> types_;
  SimBroker broker_;
  histcheck::History history_;
  std::vector<SimProblem> problems_;
  uint64_t next_number_ = 1;
  uint64_t next_ticket_ = 1;

  std::unordered_map<uint64_t, Time> given_out_;
  std::map<Ticket, Stream> streams_;
  std::map<std::string, Vouch> vouches_;  // by worker
  struct Pending {
    std::shared_ptr<Done> done;
  };
  std::map<Ticket, Pending> calls_;
  std::map<Ticket, Watcher> watches_;

  std::vector<std::unique_ptr<SimProducer>> producers_;
  std::unique_ptr<SimOperator> operator_;
  std::shared_ptr<SimBulk> bulk_;  // of the process that runs; null: without the feature
  std::unique_ptr<SimBulkClient> bulk_client_;
  std::vector<std::unique_ptr<SimWorker>> workers_;

  bool quiet_ = false;
  bool resumed_ = false;
  bool drained_ = false;
  bool over_ = false;
  Span quiet_since_ = 0;
  int jumps_ = 0;
  Time log_time_ = 0;
};

// What a call's status says about whether it was done.
histcheck::Phase PhaseOf(const absl::Status& status);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_WORLD_H_
