#ifndef PENSTOCK_TESTS_SUPPORT_CORE_DRIVER_H_
#define PENSTOCK_TESTS_SUPPORT_CORE_DRIVER_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "broker/core/broker_core.h"
#include "broker/storage/memory_store.h"

namespace penstock::broker {

// A core over a store in memory, with time that only moves when told, and no threads. As the engine does it, effects
// come out only when their batch is in the store; batches may be left in flight, and lost in a crash.
class CoreDriver {
 public:
  explicit CoreDriver(CoreOptions options = {});

  // Applies commands at the current time, then commits all but the newest `in_flight` batches. Returns the effects of
  // those that were committed now, in their order. `keep_in_flight`: commits nothing.
  Effects Step(std::vector<Command> commands = {}, bool keep_in_flight = false);
  Effects Step(Command command);
  Effects CommitAll();
  // Moves both clocks, then lets the core do what is due until it rests.
  Effects Advance(Span by);
  // The wall clock is set, backwards perhaps; the core has not looked at it yet.
  void MoveWallClock(Span by) { now_.wall += by; }
  // The broker dies and comes back: of the batches in flight the first `commits_kept` reached the store, the others are
  // lost, and the effects of all of them. The elapsed clock starts anew.
  void Crash(size_t commits_kept = 0);

  // From now on a step leaves this many batches in flight, as the engine does while it syncs.
  void set_pipeline_depth(size_t depth) { depth_ = depth; }
  size_t in_flight() const { return in_flight_.size(); }
  // From now on every n-th commit is checked: a recovery gives the very state that the core had after that batch, and
  // everything in the store, counted anew (recount.h), fits. Failures are GoogleTest's. 0: never.
  void set_check_every(int n) { check_every_ = n; }

  // What a recovery would make of the store as it is: equal to DebugState() when nothing is in flight.
  std::string RecoveredState() const;
  std::string Recount() const;

  BrokerCore& core() { return *core_; }
  MemoryStore& store() { return *store_; }
  CoreNow now() const { return now_; }
  const CoreOptions& options() const { return options_; }

  Ticket NewTicket() { return Ticket(next_ticket_++); }

 private:
  struct Batch {
    bool writes_something = false;
    CommitBatch writes;
    Effects effects;
    std::string state;  // after it, when it will be checked
  };
  void Recover();
  void CommitOldest(Effects* effects);

  const CoreOptions options_;
  std::unique_ptr<MemoryStore> store_ = std::make_unique<MemoryStore>();
  std::unique_ptr<BrokerCore> core_;
  std::deque<Batch> in_flight_;
  size_t depth_ = 0;
  int check_every_ = 0;
  int since_check_ = 0;
  CoreNow now_{1'800'000'000 * kSecond, 0};
  uint64_t next_ticket_ = 1;
};

// Adds the effects of a later batch.
void AppendEffects(Effects more, Effects* effects);

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SUPPORT_CORE_DRIVER_H_
