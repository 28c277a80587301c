#ifndef PENSTOCK_TESTS_UNIT_BROKER_ENGINE_ENGINE_FIXTURE_H_
#define PENSTOCK_TESTS_UNIT_BROKER_ENGINE_ENGINE_FIXTURE_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/engine/engine.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "gtest/gtest.h"
#include "tests/support/effect_recorder.h"
#include "tests/support/gated_store.h"

namespace penstock::broker {

// An engine on a store that the test holds and fails, with a clock that it moves, and the answers that came out. Any
// thread may post; the rest is the test's thread's.
class EngineTest : public ::testing::Test {
 protected:
  EngineTest();
  ~EngineTest() override;

  // A new engine on the store as it is; the one before must have been stopped.
  void StartEngine();
  // By another clock than clock_, which outlives the engine.
  void StartEngineBy(Clock& clock);
  Engine& engine() { return *engine_; }

  Ticket NewTicket() { return Ticket(next_ticket_++); }
  // One task of type "t"; `spec` tells it from others.
  static EnqueueCommand Task(Ticket ticket, const std::string& spec, const std::string& queue = "q",
                             RequestId request = {});
  absl::Status Post(Command command, size_t bytes = 200) { return engine().Post(std::move(command), bytes); }
  // Posts an enqueue, which must be taken.
  Ticket Enqueue(const std::string& spec, const std::string& queue = "q", RequestId request = {});
  // Posts it and waits for the task's id.
  TaskId EnqueueAndWait(const std::string& spec, const std::string& queue = "q", RequestId request = {});
  absl::Status StatusOf(Ticket ticket) { return answers_.Await(ticket).reply.status; }
  // Waits until the engine has taken all that was posted.
  void AwaitMailboxEmpty();
  // Holds the store. Afterwards one batch is being written, one waits, and the engine waits to hand over a third:
  // whatever is posted now stays in the mailbox. Returns the tickets of the three.
  std::vector<Ticket> FillPipeline();

  // Connects a worker that takes up to `credit` tasks of queue "q".
  Ticket Connect(uint32_t credit);
  // What the worker on `stream` sends when the task is done.
  static SessionInput Completion(Ticket stream, const EffectRecorder::Delivered& delivered);

  // From the engine that runs.
  StatusReply Status();
  QueueCounters Counters(const std::string& queue = "q");
  // The tasks that wait in queue "q" according to the store: what a new engine, started on a reopened store, hands out.
  // The running engine must have been stopped. Fails if a task comes out twice.
  std::set<TaskId> RecoveredTasks(size_t count);

  // Waits until the engine has reported a failure.
  absl::Status AwaitFailure();
  size_t failure_count() const;

  EngineOptions options_{
      .core = {}, .mailbox = {.commands = 1'000'000}, .seal_after = absl::Hours(1)};  // tests count what is written
  ManualClock clock_;
  GatedStore store_;
  EffectRecorder answers_{store_};

 private:
  std::unique_ptr<Engine> engine_;
  std::atomic<uint64_t> next_ticket_ = 1;
  mutable Mutex mu_;
  CondVar failed_;
  std::vector<absl::Status> failures_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_UNIT_BROKER_ENGINE_ENGINE_FIXTURE_H_
