#ifndef PENSTOCK_WORKER_WORKER_CORE_H_
#define PENSTOCK_WORKER_WORKER_CORE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "common/task_id.h"
#include "worker/options.h"
#include "worker/outcome.h"
#include "worker/prefetch.h"
#include "worker/task_context.h"

namespace penstock {

// What the runtime decides, without threads, clock or network: how many tasks to ask for, what to tell the broker, what
// timed out, what to hand back. Time is an argument, elapsed since any start. The owner (BrokerSession) guards it by
// its mutex and carries out what it says.
//
// A task is one of ours from its delivery until its outcome is decided. Decided means told: the outcome is pending,
// then sent, then acknowledged. A handler that is still in it by then (its time was up, its lease is lost, the worker
// ended) is given up: it keeps its slot until it returns, and what it returns is nobody's business. Meanwhile the same
// task may come again under a newer lease.
class WorkerCore {
 public:
  struct Options {
    int concurrency = 8;
    int prefetch = 8;       // at least
    int prefetch_most = 8;  // while tasks are short
    absl::Duration lease = absl::Seconds(30);
    absl::Duration reconnect_min = absl::Milliseconds(100);
    absl::Duration reconnect_max = absl::Seconds(10);
    std::map<std::string, int> type_limits;  // types with a max_concurrency of their own
    // Types that run in batches: how long a task may wait for company. It waits for a slot only after that.
    std::map<std::string, absl::Duration> batch_waits;
  };

  // One outcome on its way.
  struct OutcomeReport {
    TaskId task;
    uint64_t token = 0;
    Outcome outcome;
    absl::Duration run_time;  // zero: it never started
    // What the next attempt has to receive, so that it is told again should the connection break before the outcome is
    // acknowledged. Empty: nothing.
    std::string checkpoint = {};
  };
  struct ProgressReport {
    TaskId task;
    uint64_t token = 0;
    double percent = 0;
    std::string text;
    std::optional<std::string> checkpoint = {};  // absent: what was saved stays
  };
  struct LogReport {
    TaskId task;
    uint64_t token = 0;
    std::vector<std::pair<absl::Time, std::string>> lines;
  };
  // What the next request carries.
  struct Frame {
    int credit = 0;
    std::vector<std::pair<std::string, int>> type_credits;
    std::vector<std::pair<TaskId, uint64_t>> starts;
    std::vector<const OutcomeReport*> outcomes;  // valid until the next call
    std::vector<ProgressReport> progress;
    std::vector<LogReport> logs;
    uint64_t number = 0;
    bool stuck_changed = false;
    std::vector<TaskId> stuck;
    bool draining = false;
  };
  struct HeldTask {
    TaskId task;
    uint64_t token = 0;
    bool started = false;
  };
  // A handler to be asked to end.
  struct Cancel {
    TaskId task;
    uint64_t token = 0;
    CancelReason reason;
  };

  explicit WorkerCore(Options options);

  // --- the connection ---
  // What a Hello tells of tasks held from before.
  std::vector<HeldTask> Held() const;
  // A task that waits or runs here, its outcome not yet known.
  bool Holds(TaskId task) const { return tasks_.contains(task); }
  // The stream is open: everything is told anew. `lost` is no longer ours; if the session is new, nothing is. Returns
  // whom to cancel.
  std::vector<Cancel> OnWelcome(bool resumed, absl::Duration lease, const std::vector<TaskId>& lost,
                                const std::vector<TaskId>& cancelled, absl::Duration now);
  void OnDisconnected();
  // The session has ended without us: everything was given to others. Returns whom to cancel.
  std::vector<Cancel> OnSessionLost();
  // How long to wait before connecting again: from 0 to a bound that doubles, as `draw` from [0, 1) says. Full jitter:
  // many workers of one broker must not come back at once.
  absl::Duration NextBackoff(double draw);

  // --- from the broker ---
  // False: it is not wanted (the worker drains) and goes back. A task that is delivered while we believe to hold it was
  // taken from us in between: `cancels` gets its old handler.
  bool OnDelivery(const TaskDelivery& task, absl::Duration now, std::vector<Cancel>* cancels);
  void OnAcknowledged(uint64_t frame);
  // The lease is not ours any more. Returns whom to cancel.
  std::optional<Cancel> OnStale(TaskId task, uint64_t token);
  std::optional<Cancel> OnCancelled(TaskId task);

  // --- from the handlers ---
  // False: it shall not start (handed back, lost).
  bool OnStart(TaskId task, uint64_t token, absl::Duration now);
  // The handler returned: its slot is free.
  void OnFinish(TaskId task, uint64_t token, Outcome outcome, absl::Duration now);
  void OnProgress(TaskId task, uint64_t token, double percent, std::string text);
  void OnCheckpoint(TaskId task, uint64_t token, std::string checkpoint);
  void OnLog(TaskId task, uint64_t token, absl::Time time, std::string line);

  // --- time ---
  // Attempts whose time is up fail; their handlers keep their slots. Tasks that were taken ahead because others were
  // short, and wait for long now, go back. Returns whom to cancel.
  std::vector<Cancel> OnTime(absl::Duration now);
  // When OnTime or BuildFrame next has something to do of itself.
  absl::Duration NextDeadline() const;

  // --- the end ---
  // Takes no more tasks. What has not started goes back.
  void Drain();
  // Whom a shutdown cancels.
  std::vector<Cancel> RunningTasks() const;
  // Running tasks that have not ended are handed back; what their handlers return later is ignored.
  void HandBackRunning();

  // Something is to be told, or the lease wants renewing.
  bool WantsFrame(absl::Duration now) const;
  // What there is to tell: about `bytes`, or one outcome, however large, with a quarter of them.
  Frame BuildFrame(absl::Duration now, size_t bytes);

  bool draining() const { return draining_; }
  // Handlers that run, given up or not.
  int running() const { return running_; }
  // Outcomes that were not told, or not acknowledged yet.
  size_t unconfirmed() const;
  bool settled() const { return pending_.empty() && unacknowledged_.empty(); }
  // Besides, no task is ours any more. Handlers that were given up may still run.
  bool idle() const { return tasks_.empty() && settled(); }

 private:
  using LeaseKey = std::pair<TaskId, uint64_t>;
  struct Task {
    uint64_t token = 0;
    std::string type;
    bool started = false;
    absl::Duration start;
    absl::Duration deadline = absl::InfiniteDuration();
    absl::Duration run_timeout;
    size_t log_bytes = 0;
    // As told last, for a report tells both at once. The checkpoint is told again on a new stream, for nobody
    // acknowledges reports.
    double percent = 0;
    std::string text;
    std::string checkpoint;
  };
  struct Waiting {
    TaskId task;
    uint64_t token = 0;
    absl::Duration since;  // when it could have started, had there been a slot
  };
  struct GivenUp {
    std::string type;
    bool stuck = false;  // by timeout: told to the broker
  };

  Task* Find(TaskId task, uint64_t token);
  void Report(TaskId task, Task& state, Outcome outcome, absl::Duration now);
  // What is told of the task's progress next.
  ProgressReport& ReportOf(TaskId id, const Task& task);
  // Ends our holding of a task. A started one keeps its slot until its handler returns.
  void Drop(TaskId task, bool stuck);
  // The broker gave it to others. Returns whom to cancel.
  std::optional<Cancel> Lose(TaskId task);
  void FreeSlot(const std::string& type);
  int Capacity() const { return options_.concurrency + prefetch_.value(); }
  // Forgets those that wait no more: at the front, and all when they are many.
  void TrimWaiting();
  void ForgetStarted();
  void HandBackSurplus(absl::Duration now);
  bool StartsAreDue(absl::Duration now) const { return !starts_.empty() && now >= starts_due_; }
  int FreeCredit() const;
  void TakeReports(size_t bytes, size_t* size, Frame* frame);

  const Options options_;
  absl::Duration lease_;
  bool connected_ = false;
  bool draining_ = false;
  bool draining_told_ = false;
  int failures_ = 0;
  absl::Duration last_sent_;
  int outstanding_credit_ = 0;  // granted and not delivered yet
  bool credit_due_ = false;     // a slot came free that no outcome tells of
  absl::flat_hash_map<std::string, int> outstanding_types_;
  absl::flat_hash_map<std::string, int> held_types_;  // of limited types: slots taken
  absl::flat_hash_map<TaskId, Task> tasks_;           // ours, waiting or started
  absl::flat_hash_map<LeaseKey, GivenUp> given_up_;   // hold slots too
  // Deliveries in the order in which they start; those that wait no more stay until they come to the front.
  std::deque<Waiting> waiting_;
  Prefetch prefetch_;
  int running_ = 0;
  bool stuck_changed_ = false;
  std::set<std::pair<absl::Duration, TaskId>> deadlines_;  // of started tasks

  std::vector<LeaseKey> starts_;  // not told yet
  absl::Duration starts_due_;     // when they are worth a message of their own
  int short_runs_ = 0;            // in a row, the last ones
  std::deque<OutcomeReport> pending_;
  std::deque<std::pair<uint64_t, std::deque<OutcomeReport>>> unacknowledged_;  // by frame
  uint64_t next_frame_ = 1;
  std::map<TaskId, ProgressReport> progress_;  // the newest of each task
  std::map<TaskId, LogReport> logs_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_WORKER_CORE_H_
