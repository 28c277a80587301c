#ifndef PENSTOCK_TESTS_SIMULATION_SIM_BROKER_H_
#define PENSTOCK_TESTS_SIMULATION_SIM_BROKER_H_

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/core/broker_core.h"
#include "broker/engine/commit_writer.h"
#include "broker/engine/core_clock.h"
#include "broker/engine/mailbox.h"
#include "tests/simulation/coverage.h"
#include "tests/simulation/door_script.h"
#include "tests/simulation/sim_config.h"
#include "tests/simulation/sim_loop.h"
#include "tests/simulation/sim_store.h"

namespace penstock::broker {

// A broker process in virtual time: the real core, mailbox, core clock and commit writer, driven as Engine and
// CommitPipeline drive them, with events for their two threads: the engine is at most two batches ahead of the disk.
// The process may be killed, stopped in order, stand still, and fail by its disk. Owned by the world.
class SimBroker : private EffectReceiver {
 public:
  // The world, as the broker's edges see it.
  class Edge {
   public:
    virtual ~Edge() = default;
    // The core gives out what is in here; it comes by OnEffects, once it is committed.
    virtual void OnGivenOut(const Effects& effects) = 0;
    virtual void OnEffects(Effects effects) = 0;
    // It takes commands from now on.
    virtual void OnUp() = 0;
    // The process is gone, or its engine alone; nothing more comes from it.
    virtual void OnDown(bool engine_only) = 0;
    virtual void OnProblem(std::string rule, std::string what) = 0;
  };

  SimBroker(const SimConfig& config, SimLoop& loop, SimClock& clock, Coverage& coverage, Edge& edge);
  ~SimBroker() override;

  void Start();
  bool up() const { return core_ != nullptr && !closing_; }
  bool running() const { return core_ != nullptr; }

  // As CommandDoor::Post.
  absl::Status Post(Command&& command, size_t bytes);

  // --- faults ---
  // kill -9; with `power_loss` what was not synced may be gone, too.
  void Kill(bool power_loss);
  // SIGTERM: answers what it has, then ends.
  void Stop();
  // Everything in the process stands still until then.
  void StandStill(Span until) { still_until_ = std::max(still_until_, until); }
  Span still_until() const { return still_until_; }
  SimStore& store() { return store_; }
  void set_slow(bool slow) { slow_ = slow; }

  // --- checks ---
  // Nothing is in flight and nothing waits.
  bool at_rest() const { return !writing_ && waiting_.empty() && !blocked_ && mailbox_->bytes() == 0; }
  // When at rest: a recovery gives the core's state, and everything stored fits (tests/support/recount.h).
  void Check();
  // The core takes a command outside of the engine's turns and tells what comes of it; at rest only. For questions.
  Effects AskAtRest(Command command);
  DoorScript* script() { return script_.get(); }
  void RecordScript() { script_ = std::make_unique<DoorScript>(); }

 private:
  void Release(Effects effects) override;

  // The engine thread.
  bool Ready() const;  // as Mailbox::Ready
  void Wake();
  void ScheduleTurn(Span when);
  void Turn();
  void Submit(CoreBatch batch);
  void EndTurn();
  // The commit thread.
  void PumpWriter();
  void FinishWrite();
  void OnIdle();
  void GoDown();
  Span CommitTime();

  const SimConfig& config_;
  SimLoop& loop_;
  SimClock& clock_;
  Coverage& coverage_;
  Edge& edge_;
  SimRandom random_;
  SimStore store_;
  std::unique_ptr<DoorScript> script_;
  std::vector<uint64_t> script_steps_;  // of the batches in flight

  // Of one life of the process:
  uint64_t life_ = 0;  // events of earlier lives are void
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<CommitWriter> writer_;
  CoreClock core_clock_;
  std::unique_ptr<BrokerCore> core_;
  bool closing_ = false;   // the mailbox is closed
  bool stopping_ = false;  // in order
  bool failed_ = false;
  bool held_ = false;  // few commands wait for the commit under way
  uint64_t taken_ = 0;
  int committed_ = 0;
  uint64_t turn_ = 0;  // the newest scheduled turn; earlier ones are void
  Span turn_at_ = 0;
  Span slept_from_ = 0;
  Span wait_ = 0;
  bool ended_ = false;  // the engine's thread
  std::deque<CoreBatch> waiting_;
  std::optional<CoreBatch> writing_;
  std::optional<CoreBatch> blocked_;  // the engine waits to hand it over
  Span blocked_since_ = 0;
  uint64_t idle_ = 0;
  Span still_until_ = 0;
  bool slow_ = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SIMULATION_SIM_BROKER_H_
