#ifndef PENSTOCK_TESTS_CHECKER_INDEX_H_
#define PENSTOCK_TESTS_CHECKER_INDEX_H_

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/checker/checker.h"
#include "tests/checker/history.h"

namespace penstock::histcheck {

// What a task was to be from some moment on: as it was enqueued, as an update changed it, or as another enqueue with
// its unique key was to be.
struct Content {
  const Event* asked = nullptr;
  const Event* answer = nullptr;  // an enqueue's: the first that was ok, else the last
  bool ok() const { return answer != nullptr && answer->phase == Phase::kOk; }
  bool refused() const { return answer != nullptr && answer->phase == Phase::kFail; }
  // It surely was over before the other was asked for.
  bool SurelyBefore(const Content& other) const { return ok() && answer->t < other.asked->t; }
};

// A delivery, and what its worker did under it.
struct Lease {
  const Event* deliver = nullptr;
  const Event* content = nullptr;  // what was asked for: Content::asked; null: nobody did
  const Event* outcome = nullptr;
  const Event* answer = nullptr;
  int64_t held_until = 0;   // it surely held from its delivery until then; 0: nobody knows
  bool brings = false;      // its outcome was to enqueue tasks, too
  bool started = false;     // and the broker surely knows
  bool given_back = false;  // by a goodbye, or because its worker forgot it
  bool dropped = false;     // the worker did not count on it any more when it reported
  bool told_lost = false;   // because the broker had said so
  // "Already finished" may say of one that brings tasks that they were refused before, and that its task has died of
  // it.
  bool accepted() const {
    return answer != nullptr && (answer->phase == Phase::kOk || (answer->phase == Phase::kFinished && !brings));
  }
  // What it was to enqueue was refused, and so it counts as failed.
  bool refused() const { return answer != nullptr && answer->phase == Phase::kFail; }
  bool accepted(const char* kind) const { return accepted() && outcome->kind == kind; }
};

// One task of an enqueue call.
struct Enqueue {
  const Event* asked = nullptr;
  const Event* answer = nullptr;  // the first that was ok, else the last
  uint64_t task = 0;
  uint64_t token_floor = 0;  // every lease of it must have a greater token
  bool seen = false;         // a delivery had its payload
  bool ok() const { return answer != nullptr && answer->phase == Phase::kOk; }
  bool fresh() const { return ok() && !answer->dup; }
  // Another task may have become what this one was to be.
  bool may_replace() const { return !asked->unique.empty() && !asked->conflict.empty(); }
};

// What an operator or a client asked for.
struct Ask {
  const Event* asked = nullptr;
  const Event* told = nullptr;
  uint64_t token_floor = 0;      // as an enqueue's, of an update
  const Event* ended = nullptr;  // of a bulk job: the first that said so
  bool ok() const { return told != nullptr && told->phase == Phase::kOk; }
  bool refused() const { return told != nullptr && told->phase == Phase::kFail; }
  // It began a bulk job, or was to.
  bool bulk() const { return asked->kind.starts_with("bulk_") && asked->kind != "bulk_stop"; }
  // When it was over, as far as anybody knows.
  int64_t end() const {
    if (bulk()) return ended == nullptr ? kNever : ended->t;
    return told == nullptr || told->phase == Phase::kUnknown ? kNever : told->t;
  }
};

struct Queue;

struct Task {
  uint64_t id = 0;
  Enqueue* enqueue = nullptr;
  std::deque<Lease> leases;  // by token, once the index is complete
  std::vector<const Ask*> asks;
  std::vector<Content> contents;     // what it may have been, its enqueue's among them; once the index is complete
  std::vector<const Queue*> queues;  // that it may have been in
  std::vector<const Event*> seen;
  const Event* end = nullptr;
  bool changed() const { return contents.size() > 1; }
  bool moved() const { return queues.size() > 1; }
  const Content* ContentOf(const Lease& lease) const;
  bool shaky = false;  // a power failure may have undone something of it that was acknowledged without fsync
};

struct Queue {
  std::vector<const Enqueue*> enqueues;
  std::vector<const Ask*> asks;
  std::map<std::string, std::vector<const Enqueue*>> unique;
  bool relaxed = false;
  bool moves = false;  // an update may have brought a task here, or taken one away
  bool drops = false;  // it may have given up its oldest tasks when it was full
  const Event* counters = nullptr;
};

struct BulkJob {
  Ask* ask = nullptr;  // null: whoever began it never heard of it
  std::vector<const Event*> told;
  std::vector<const Ask*> stops;
  const Event* ended = nullptr;
};

// Brings a history into the order in which rules look at it. What can only be judged while time passes (who holds what)
// is judged here.
class Index {
 public:
  Index(const History& history, Verdict* verdict);

  void Report(const char* rule, std::string what, std::initializer_list<const Event*> events);
  // A line's time without the jumps of the clock before it: for how far lines are apart.
  int64_t At(const Event* event) const { return event->t - skews_[static_cast<size_t>(event - history_.data())]; }
  // What was acknowledged without fsync between these lines may have been undone by a power failure.
  bool Undone(const Queue& queue, const Event* from, const Event* until) const;
  bool Undone(const Queue& queue, const Event* event) const { return Undone(queue, event, event); }
  bool Asked(const std::vector<const Ask*>& asks, std::initializer_list<const char*> verbs, int64_t from,
             int64_t until = kNever) const;
  // The same of any queue that the task may have been in.
  bool AskedOfQueues(const Task& task, std::initializer_list<const char*> verbs, int64_t from,
                     int64_t until = kNever) const;
  // Somebody may have made a dead task available again, or let one run early.
  bool Redriven(const Task& task, int64_t from, int64_t until = kNever) const {
    return Asked(task.asks, {"retry", "bulk_retry"}, from, until) || AskedOfQueues(task, {"redrive"}, from, until);
  }
  // A delivery was surely given out after a moment: it came too late to have been on its way then, or its worker knows
  // that the broker answered it since.
  bool SurelyAfter(const Event* deliver, const Event* moment) const {
    if (deliver->since > 0) return deliver->since > moment->t;
    return At(deliver) > At(moment) + config.max_delay;
  }
  // No worker had had the task when `moment` came, although it is there: its first delivery is known, and came later.
  bool SurelyUntouched(const Task& task, const Event* moment) const;
  // A power failure may have undone what a relaxed queue had acknowledged.
  bool Forgetful(const Queue& queue) const { return queue.relaxed && !power_losses.empty(); }
  bool Forgetful() const;

  Event config;
  std::map<uint64_t, Task> tasks;
  std::deque<Enqueue> enqueues;
  std::map<std::string, Queue> queues;
  std::map<std::string, const Event*> workers;
  std::map<std::string, std::vector<const Ask*>> throttles;  // by name
  std::map<std::string, BulkJob> jobs;                       // by name
  size_t unsure_jobs = 0;                                    // that were asked for, without an answer
  std::vector<const Event*> power_losses;
  int64_t last_jump = -1;
  int64_t first_cut = kNever;
  const Event* quiet = nullptr;
  const Event* drained = nullptr;

 private:
  struct Claim {
    Lease* lease;
    Task* task;
  };
  void Take(const Event& event);
  void TakeEnqueue(const Event& event);
  void TakeEnqueued(const Event& event);
  void TakeDeliver(const Event& event);
  void TakeReport(const Event& event);
  void TakeLost(const Event& event);
  void CheckClaims(const Event& event, const Event* asked);
  void TakeAsk(const Event& event);
  void TakeTold(const Event& event);
  void TakeBulk(const Event& event);
  // What bulk jobs may have done to it counts as asked of it.
  void AddBulkAsks(Task* task);
  // What asked for a payload.
  struct Source {
    Enqueue* enqueue = nullptr;
    Ask* update = nullptr;
    const Event* asked() const { return enqueue != nullptr ? enqueue->asked : update->asked; }
  };
  void NoteSource(const Event& event, Source source);
  void CheckSource(const Event& event, Task* task, const Source& source);
  void CheckLabels(const Event& event, const Event& asked);
  Lease* FindLease(const Event& event);
  bool Holds(const Claim& claim, int64_t t) const;
  void Drop(const Claim& claim, int64_t t) const {
    if (Holds(claim, t)) claim.lease->held_until = t;
  }
  void Bind(Task* task, Enqueue* enqueue, const Event& event);
  void AddReplacements();
  void Complete(Task* task);

  const History& history_;
  Verdict* const verdict_;
  std::vector<int64_t> skews_;  // by line
  std::map<int64_t, std::vector<Enqueue*>> calls_;
  std::map<std::string, Source> by_payload_;
  std::deque<Ask> asks_;
  std::map<int64_t, Ask*> ask_of_;
  std::vector<const Ask*> bulk_asks_;
  std::map<std::string, uint64_t> last_token_;  // by worker
  std::map<uint64_t, const Event*> tokens_;
  uint64_t max_token_ = 0;
  std::map<std::string, int64_t> valid_;            // by worker: until when its leases surely hold
  std::map<uint64_t, Claim> claims_;                // by task
  std::map<std::string, int64_t> limits_;           // by name
  std::map<std::string, std::set<uint64_t>> held_;  // tasks by limit, and by "q/key"
  struct Kept {
    Task* task;
    const Event* deliver;  // what gave the lease out
    const Event* event;
  };
  std::vector<Kept> refused_;  // although the lease surely held, unless a newer one shows up
};

}  // namespace penstock::histcheck

#endif  // PENSTOCK_TESTS_CHECKER_INDEX_H_
