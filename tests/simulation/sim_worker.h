#ifndef PENSTOCK_TESTS_SIMULATION_SIM_WORKER_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_WORKER_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "tests/checker/history.h"
#include "tests/simulation/sim_loop.h"
#include "tests/simulation/sim_tasks.h"

namespace penstock::broker {

class SimWorld;

// A worker process that keeps to the session protocol, and has all the bad luck and bad manners that a worker may have:
// it freezes, dies, loses its connection, forgets tasks, and reports under leases it has lost.
class SimWorker {
 public:
  // `finisher`: takes everything, and only completes; for the liveness phase.
  SimWorker(SimWorld& world, int index, bool finisher);

  void Start();
  // From now on it behaves; or leaves.
  void BeGood(bool stay);
  bool settled() const { return unacknowledged_.empty() && reports_.empty(); }
  const std::string& name() const { return name_; }
  Span lease() const { return lease_; }

  // From the network.
  void Arrive(Ticket stream, SessionMessage message);
  void OnCut(Ticket stream);

 private:
  struct Held {
    FencingToken token;
    uint32_t attempt = 1;
    uint32_t max_attempts = 1;
    SpecFields spec;
    bool started = false;
    bool cancel = false;
    Span start = 0;
    uint64_t start_frame = 0;  // acknowledged, the broker knows of the start; 0: not told, or known
  };
  struct Report {
    TaskId task;
    FencingToken token;
    OutcomeKind kind = OutcomeKind::kCompleted;
    std::optional<Span> delay;
    CoolScope cool = CoolScope::kNone;
    std::string saved;  // in the same frame
    std::shared_ptr<const SimTasks> brings;
    Span run_time = 0;
    uint32_t attempt = 1;
    bool last = false;
    bool cancel = false;
    bool resent = false;
  };

  bool has_bad_luck() const;
  void Tick();
  void Connect();
  void Flush(bool even_empty);
  void Hear(const SessionMessage& message);
  void HearWelcome(const SessionWelcome& welcome);
  void HearDelivery(const Delivery& delivery);
  void HearAcknowledgement(const SessionMessage& message);
  void HearEnd(const absl::Status& status);
  void StartSome();
  void EndHandler(TaskId task, FencingToken token);
  // The line of the history that says so.
  histcheck::Event& AddReport(TaskId task, const Held& held, OutcomeKind kind, std::optional<Span> delay);
  // The tasks that a completion brings.
  std::shared_ptr<const SimTasks> MakeBrought(const Report& completed);
  // What is to be saved with the reports that go into `input`.
  void AddCheckpoints(SessionInput* input);
  // `known`: it was acknowledged.
  void Answer(const Report& report, bool known, const Refusal* refusal);
  // The tasks are not ours any more: `told`, because the broker said so.
  void LoseAll(bool told, const char* kind = "");
  void LoseOne(TaskId task, bool told, const char* kind = "");
  void Die(Span away);
  void SayGoodbye(Span away);
  void Disconnect();
  // Does `action` unless this is another life by then; when frozen, after that.
  void Later(Span delay, std::function<void()> action);

  SimWorld& world_;
  SimLoop& loop_;
  SimRandom random_;
  const std::string name_;       // in histories
  const std::string told_name_;  // to the broker; not always its own
  const bool finisher_;
  std::vector<std::string> queues_;
  std::vector<HandledType> types_;
  std::map<std::string, std::string> labels_;
  SimTaskMaker maker_;
  uint32_t concurrency_ = 1;
  uint32_t prefetch_ = 0;
  Span lease_ = 0;
  Span handler_time_ = 0;
  Span heartbeat_every_ = 0;
  int start_manner_ = 0;  // 0: reports a start at once, 1: with the next frame, 2: with the outcome
  bool good_ = false;
  bool leaving_ = false;
  bool gone_ = false;

  uint64_t life_ = 0;  // of the process
  std::string session_id_;
  bool has_session_ = false;
  Ticket stream_;
  bool welcomed_ = false;
  bool draining_ = false;
  bool draining_told_ = false;
  uint64_t frame_ = 0;
  uint32_t outstanding_ = 0;
  std::map<std::string, uint32_t> outstanding_types_;
  std::map<TaskId, Held> held_;
  std::deque<TaskId> waiting_;
  uint32_t running_ = 0;
  std::vector<TaskStart> starts_;
  std::vector<Report> reports_;
  std::deque<std::pair<uint64_t, std::vector<Report>>> unacknowledged_;
  std::vector<std::pair<TaskId, Held>> zombies_;
  Span frozen_until_ = 0;
  std::deque<std::pair<Ticket, SessionMessage>> inbox_;
  bool heartbeat_ = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_WORKER_H_
