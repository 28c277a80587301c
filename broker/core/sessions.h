#ifndef PENSTOCK_BROKER_CORE_SESSIONS_H_
#define PENSTOCK_BROKER_CORE_SESSIONS_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "broker/core/core_context.h"
#include "broker/core/enqueuer.h"
#include "broker/core/lifecycle.h"
#include "broker/core/watchers.h"

namespace penstock::broker {

struct Subscription;

// A worker process's connection, which outlives its stream.
struct Session {
  SessionNumber number;
  std::string id;  // the secret
  std::string worker_name;
  std::vector<std::string> queues;
  std::vector<HandledType> types;
  uint32_t concurrency = 1;
  Span lease = 0;
  std::string host;
  int32_t pid = 0;
  std::string version;
  std::map<std::string, std::string> labels;
  Time connect_time = 0;
  std::string newer_record;  // see IfNewer (storage/records.h)

  Ticket stream;            // empty: not connected
  Span last_heard = 0;      // elapsed
  Span deadline = 0;        // elapsed: when its tasks go to others
  Span noted_deadline = 0;  // its entry among the deadlines, at or before `deadline`; 0: none
  bool draining = false;    // it said so, or an operator did
  bool awaited = false;     // not heard of since the broker started
  std::vector<TaskId> stuck_tasks;

  // For the dispatcher:
  uint64_t credit = 0;
  absl::flat_hash_map<std::string, uint64_t> type_credits;  // of limited types
  Subscription* subscription = nullptr;
  // Its place among the takers of its subscription (dispatcher.h); turn 0: it is not among them.
  uint64_t turn = 0;
  int tier = 0;
  uint32_t load = 0;

  bool connected() const { return !stream.empty(); }
};

// What the sessions tell the dispatcher; it is one of them that has something to tell.
class SessionObserver {
 public:
  virtual ~SessionObserver() = default;
  virtual void SessionConnected(Session* session) = 0;
  // Credit, connection or draining changed.
  virtual void SessionChanged(Session* session) = 0;
  virtual void SessionEnds(Session* session) = 0;
  // A task ran for so long.
  virtual void TaskRan(const Lease& lease, Span run_time) = 0;
  // The handler of a running task wants what shares this with it left alone until then.
  virtual void HandlerCools(const Lease& lease, CoolScope scope, Time until) = 0;
};

// Who is connected, and what becomes of the tasks of those who are not. docs/task_lifecycle.md
// says it in words.
class Sessions {
 public:
  Sessions(CoreContext& context, Enqueuer& enqueuer, Lifecycle& lifecycle, Watchers& watchers,
           SessionObserver& observer)
      : context_(context), enqueuer_(enqueuer), lifecycle_(lifecycle), watchers_(watchers), observer_(observer) {}

  void Open(const OpenSessionCommand& command);
  void Input(const SessionInput& input);
  void Broken(Ticket stream);
  void Drain(const DrainWorkerCommand& command);

  // A recorded session, after a restart of the broker: it has the reclaim window to come back.
  void Restore(const records::SessionRecord& record, SessionNumber number);

  // Ends sessions whose time has run out; bounded work. False: there is more to do.
  bool Tick();
  // Elapsed time of the next deadline, or kNever.
  Span next_deadline() const { return deadlines_.empty() ? kNever : deadlines_.begin()->first; }

  Session* Find(SessionNumber number);
  const absl::btree_map<SessionNumber, std::unique_ptr<Session>>& all() const { return sessions_; }

  // Asks the session that runs a task to cancel it.
  void SendCancel(const Lease& lease);

 private:
  void SetDeadline(Session* session, Span deadline);
  void ForgetDeadline(const Session& session);
  void Record(const Session& session);
  void Resume(Session* session, const OpenSessionCommand& command);
  void End(Session* session, bool goodbye);
  // The lease if it is the session's current one; otherwise null, and the refusal is noted.
  Lease* CurrentLease(const Session& session, TaskId task, FencingToken token, SessionMessage& message);
  // The worker has begun to run it.
  void Start(Lease* lease, Time start_time);
  // It was started: how long it had waited.
  static void NoteWait(const Lease& lease, QueueTimes* times);
  void ApplyOutcome(Session* session, const TaskOutcome& outcome, SessionMessage& message);
  // A completion that brings tasks: both, or neither; then it is a failure.
  void CompleteAndEnqueue(Lease* lease, const Session& session, const TaskOutcome& outcome, SessionMessage& message);
  void ApplyLog(Session* session, const LogReport& report, SessionMessage& message);
  void ApplyProgress(Session* session, const ProgressReport& report, SessionMessage& message);

 public:
  // Progress of running tasks, which lives no longer than they run.
  struct Progress {
    double percent = 0;
    std::string text;
    Time time = 0;
    // From where its pace is counted: its start, or, when it went on from a checkpoint, its first report.
    double base_percent = 0;
    Time base_time = 0;

    // How long the rest takes if it goes on as it went; -1: nobody can tell.
    Span Remaining(Time now) const;
  };
  const Progress* ProgressOf(TaskId task) const;
  void ForgetProgress(TaskId task) { progress_.erase(task); }

 private:
  CoreContext& context_;
  Enqueuer& enqueuer_;
  Lifecycle& lifecycle_;
  Watchers& watchers_;
  SessionObserver& observer_;
  absl::btree_map<SessionNumber, std::unique_ptr<Session>> sessions_;
  absl::flat_hash_map<std::string, Session*> by_id_;
  absl::flat_hash_map<Ticket, Session*> by_stream_;
  absl::btree_set<std::pair<Span, SessionNumber>> deadlines_;
  absl::flat_hash_map<TaskId, Progress> progress_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_SESSIONS_H_
