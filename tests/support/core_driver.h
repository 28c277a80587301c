#ifndef PENSTOCK_TESTS_SUPPORT_CORE_DRIVER_H_
#define PENSTOCK_TESTS_SUPPORT_CORE_DRIVER_H_

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/broker_core.h"
#include "broker/storage/memory_store.h"
#include "gtest/gtest.h"

namespace penstock::broker {

// A core over a store in memory, with time that only moves when told, and no threads. Commits may be left in flight, and lost in a crash.
class CoreDriver {
 public:
  explicit CoreDriver(CoreOptions options = {}) : options_(options) { Recover(); }

  // Applies commands at the current time. The batch is committed at once, unless `keep_in_flight`.
  Effects Step(std::vector<Command> commands = {}, bool keep_in_flight = false) {
    CoreBatch batch = core_->Step(absl::MakeSpan(commands), now_);
    Effects effects = std::move(batch.effects);
    if (batch.sequence != 0) in_flight_.push_back(std::move(batch.writes));
    if (!keep_in_flight) CommitAll();
    return effects;
  }
  Effects Step(Command command) {
    std::vector<Command> commands;
    commands.push_back(std::move(command));
    return Step(std::move(commands));
  }
  void CommitAll() {
    for (; !in_flight_.empty(); in_flight_.pop_front()) {
      ASSERT_TRUE(store_->Commit(in_flight_.front(), true).ok());
      core_->Committed();
    }
  }
  // Moves both clocks, then lets the core do what is due until it rests.
  Effects Advance(Span by) {
    now_.wall += by;
    now_.elapsed += by;
    Effects all;
    do {
      Effects effects = Step();
      for (auto& reply : effects.replies) all.replies.push_back(std::move(reply));
      for (auto& message : effects.session_messages) all.session_messages.push_back(std::move(message));
      for (auto& event : effects.watch_events) all.watch_events.push_back(std::move(event));
    } while (core_->next_deadline().wall == 0 && core_->next_deadline().elapsed == 0);
    return all;
  }
  // What was not committed is lost; the elapsed clock starts anew.
  void Crash() {
    in_flight_.clear();
    core_.reset();
    now_.elapsed = 0;
    Recover();
  }
  // What a recovery would make of the store as it is: equal to DebugState() when nothing is in flight.
  std::string RecoveredState() const {
    auto recovered = BrokerCore::Recover(options_, *store_, now_);
    return recovered.ok() ? (*recovered)->DebugState() : std::string(recovered.status().message());
  }

  BrokerCore& core() { return *core_; }
  MemoryStore& store() { return *store_; }
  CoreNow now() const { return now_; }

  Ticket NewTicket() { return Ticket(next_ticket_++); }

 private:
  void Recover() {
    auto core = BrokerCore::Recover(options_, *store_, now_);
    ASSERT_TRUE(core.ok()) << core.status();
    core_ = *std::move(core);
    Step();
  }

  const CoreOptions options_;
  std::unique_ptr<MemoryStore> store_ = std::make_unique<MemoryStore>();
  std::unique_ptr<BrokerCore> core_;
  std::deque<CommitBatch> in_flight_;
  CoreNow now_{1'800'000'000 * kSecond, 0};
  uint64_t next_ticket_ = 1;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_SUPPORT_CORE_DRIVER_H_
