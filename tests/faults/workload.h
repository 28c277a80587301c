#ifndef PENSTOCK_TESTS_FAULTS_WORKLOAD_H_
#define PENSTOCK_TESTS_FAULTS_WORKLOAD_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/engine/engine.h"
#include "common/mutex.h"
#include "tests/faults/ledger.h"

namespace penstock::broker {

// The edges' place: what the engine releases waits here for the test's thread.
class Inbox final : public EffectReceiver {
 public:
  struct Item {
    Effects effects;
    uint64_t syncs = 0;  // that the engine's store had done by then
  };

  void Attach(const Engine* engine) { engine_.store(engine); }
  void Release(Effects effects) override;
  // The engine has failed: what was released before still comes out, then nothing more.
  void Fail();
  // Waits; false when the engine has failed and nothing is left.
  bool Take(std::deque<Item>* items);
  bool failed() const;

 private:
  std::atomic<const Engine*> engine_ = nullptr;
  mutable Mutex mu_;
  CondVar changed_;
  std::deque<Item> items_ ABSL_GUARDED_BY(mu_);
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
};

// Real time, and a wall clock that can be moved on. Any thread.
class ShiftedClock final : public Clock {
 public:
  Now Read() const override {
    Now now = SystemClock().Read();
    now.wall += absl::Microseconds(shift_.load());
    return now;
  }
  void Advance(absl::Duration by) { shift_ += ToMicros(by); }

 private:
  std::atomic<int64_t> shift_ = 0;
};

// Services, workers and operators at random, against an engine: enqueues of all sizes with delays, unique keys and
// request ids, outcomes of all kinds, cancels, retries, pauses, purges. Keeps the ledger of what was sent and told, and
// judges what can be judged at once: tokens grow, nothing is delivered after its end or early, ids and unique keys
// hold.
class Workload {
 public:
  struct Counts {
    uint64_t tasks_acknowledged = 0;
    uint64_t outcomes_acknowledged = 0;
    uint64_t deliveries = 0;
    uint64_t repeats = 0;
  };

  Workload(uint64_t seed, Ledger* ledger, ShiftedClock* clock);

  // An engine was started on a store that the ledger has checked. Workers come back, or new ones come.
  void Attach(Engine* engine, Inbox* inbox);
  // A few commands at once, and their answers. False when the engine has failed.
  bool Turn();
  // Everything is run to its end. False when the engine has failed.
  bool Drain();
  // The engine is gone.
  void Detach();

  // What was wrong so far; empty if nothing.
  const std::string& problems() const { return problems_; }
  const Counts& counts() const { return counts_; }

 private:
  struct Outcome {
    TaskId task;
    FencingToken token;
    OutcomeKind kind = OutcomeKind::kCompleted;
    Span delay = 0;
  };
  struct Worker {
    std::string session_id;  // empty: none
    Ticket stream;
    bool connected = false;
    std::map<TaskId, FencingToken> held;
    uint64_t frame = 0;
    std::map<uint64_t, Outcome> unacknowledged;  // by frame
  };
  struct Request {
    EnqueueCommand command;
    std::vector<uint64_t> serials;
    Time made = 0;
  };

  uint64_t Below(uint64_t limit) { return std::uniform_int_distribution<uint64_t>(0, limit - 1)(random_); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  Ticket NewTicket() { return Ticket(next_ticket_++); }
  Time Wall() const { return ToMicros(clock_.Read().wall); }
  void Wrong(std::string text) { problems_ += std::move(text) + "\n"; }

  // False: not taken.
  bool Post(Command command);
  bool AwaitAll();
  void Hear(const Inbox::Item& item);
  void Hear(const Reply& reply, uint64_t syncs);
  void HearEnqueued(const Request& request, const Reply& reply, uint64_t syncs);
  void HearPurged(const std::string& queue, uint64_t syncs);
  void Hear(const SessionMessage& message, uint64_t syncs);
  void HearDelivery(Worker& worker, const Delivery& delivery);
  void HearOutcome(const Outcome& outcome, const RefusalReason* refusal, uint64_t syncs);

  void Enqueue();
  void Repeat();
  void Connect(Worker& worker);
  void Speak(Worker& worker, bool complete_all);
  void Report(Worker& worker, const Outcome& outcome, uint32_t credit);
  void Cancel();
  void Retry();
  void Administer(QueueVerb verb, const std::string& queue);
  KnownTask* AnyTask(Fates with);

  std::mt19937_64 random_;
  Ledger& ledger_;
  ShiftedClock& clock_;
  Engine* engine_ = nullptr;
  Inbox* inbox_ = nullptr;

  std::vector<Worker> workers_;
  uint64_t next_ticket_ = 1;
  uint64_t next_session_ = 1;
  uint64_t next_request_ = 1;
  uint64_t last_token_ = 0;
  std::set<std::string> created_;  // queues that exist for certain

  // What is under way in this turn.
  std::map<Ticket, Request> enqueues_;
  std::map<Ticket, uint64_t> cancels_;
  std::map<Ticket, uint64_t> retries_;
  std::map<Ticket, std::pair<QueueVerb, std::string>> admin_;
  std::set<Ticket> status_;
  std::set<std::pair<Ticket, uint64_t>> frames_;  // 0: a welcome
  std::set<TaskId> busy_;
  uint64_t waiting_tasks_ = 0;  // by the last status

  std::deque<Request> repeatable_;
  std::map<std::pair<std::string, std::string>, std::vector<uint64_t>> unique_;

  std::string problems_;
  Counts counts_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_FAULTS_WORKLOAD_H_
