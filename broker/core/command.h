#ifndef PENSTOCK_BROKER_CORE_COMMAND_H_
#define PENSTOCK_BROKER_CORE_COMMAND_H_

// What the core can be told. Edges validate every field, build a command, post it to the engine's mailbox and
// wait for the effect that carries its ticket. Text is viewed, not copied: `keepalive` owns the bytes behind the views.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "broker/core/core_types.h"

namespace penstock::broker {

// 16 bytes that make a repeated enqueue harmless; all zero: none.
struct RequestId {
  uint64_t high = 0;
  uint64_t low = 0;
  bool empty() const { return high == 0 && low == 0; }
};

// How the wait grows; the numbers are stored and equal penstock.v1.Backoff.
enum class Backoff : uint8_t { kExponential = 1, kLinear = 2, kFixed = 3 };

// How failed attempts are repeated; see penstock.v1.RetryPolicy for the formula.
struct RetryPolicy {
  uint32_t max_attempts = 20;
  Span initial_backoff = kSecond;
  double multiplier = 2;
  Span max_backoff = 3'600 * kSecond;
  double jitter = 1;
  Backoff backoff = Backoff::kExponential;

  friend bool operator==(const RetryPolicy&, const RetryPolicy&) = default;
};

// Some fields of a policy; the rest is somebody else's.
struct RetryPolicyChange {
  std::optional<uint32_t> max_attempts;
  std::optional<Span> initial_backoff;
  std::optional<double> multiplier;
  std::optional<Span> max_backoff;  // raised to the initial backoff where that is longer
  std::optional<double> jitter;
  std::optional<Backoff> backoff;

  bool empty() const { return !max_attempts && !initial_backoff && !multiplier && !max_backoff && !jitter && !backoff; }
  RetryPolicy On(RetryPolicy base) const {
    base.max_attempts = max_attempts.value_or(base.max_attempts);
    base.initial_backoff = initial_backoff.value_or(base.initial_backoff);
    base.multiplier = multiplier.value_or(base.multiplier);
    base.max_backoff = std::max(max_backoff.value_or(base.max_backoff), base.initial_backoff);
    base.jitter = jitter.value_or(base.jitter);
    base.backoff = backoff.value_or(base.backoff);
    return base;
  }

  friend bool operator==(const RetryPolicyChange&, const RetryPolicyChange&) = default;
};

// What becomes of a new task whose unique key is taken; the numbers equal penstock.v1.UniqueConflict.
enum class UniqueConflict : uint8_t { kKeep = 1, kReplace = 2, kDebounce = 3 };

// A task to be enqueued. Everything that the core decides by stands beside `spec`; the rest it does not read.
struct NewTask {
  std::string_view queue;
  std::string_view type;
  uint8_t priority = 5;
  Time run_at = 0;  // wall time; 0 or past: now. Edges leave a delay in `delay`.
  Span delay = 0;   // counted from the moment the core takes the command
  Time expire_at = kNever;
  Span run_timeout = 0;                     // 0: the queue's
  std::optional<RetryPolicy> retry_policy;  // absent: the queue's. Edges leave what is asked for in `retry_change`.
  RetryPolicyChange retry_change;           // on the queue's, as it is when the core takes the command
  std::string_view unique_key;              // empty: none
  Span unique_window = 0;                   // 0: until finished
  bool unique_waiting = false;              // until it is handed out
  UniqueConflict unique_conflict = UniqueConflict::kKeep;
  std::string_view key;                  // FIFO key; empty: none
  std::string_view group;                // empty: none
  std::optional<Span> result_retention;  // absent: the queue's
  uint16_t cost = 1;                     // what it counts for in throttles
  Span life_timeout = 0;                 // from when it is first due; 0: none
  Span start_within = 0;                 // as expire_at, from when it is first due; 0: expire_at says
  std::string_view labels;               // what its worker must have: see LabelText; empty: nothing
  std::string_view spec;                 // serialized penstock.v1.TaskSpec, kept and delivered as it is

  // Like most tasks it has nothing of what its block would keep beside its lane and its spec (SlotExtras).
  bool is_plain() const {
    return run_at == 0 && delay == 0 && expire_at == kNever && start_within == 0 && run_timeout == 0 &&
           life_timeout == 0 && cost == 1 && unique_key.empty() && !result_retention && !retry_policy &&
           retry_change.empty();
  }
};

// A set of labels as one text, by which the core knows it: "key=value" lines in the order of their keys. Keys and
// values hold neither '=' nor line ends.
std::string LabelText(const std::map<std::string, std::string>& labels);

struct EnqueueCommand {
  Ticket ticket;
  RequestId request_id;
  // With a request id: a hash of what the tasks are, so that the id is not taken for that of another request. 0:
  // unknown.
  uint64_t content_hash = 0;
  std::vector<NewTask> tasks;  // all or none
  std::shared_ptr<const void> keepalive;
};

// --- workers ---

struct HandledType {
  std::string type;
  uint32_t max_concurrency = 0;  // 0: limited by credit alone
};

struct HeldTask {
  TaskId task;
  FencingToken token;
  bool started = false;
};

// A worker connects or resumes. Answered by a SessionMessage for `stream` with a welcome, or with an end.
struct OpenSessionCommand {
  Ticket stream;
  std::string session_id;  // the secret; for a new session chosen by the edge
  bool resume = false;
  std::string worker_name;
  std::vector<std::string> queues;
  std::vector<HandledType> types;
  uint32_t concurrency = 1;
  Span lease = 0;  // 0: the default
  std::string host;
  int32_t pid = 0;
  std::string version;
  std::map<std::string, std::string> labels;
  std::vector<HeldTask> held_tasks;
};

struct TaskStart {
  TaskId task;
  FencingToken token;
};

struct ErrorText {
  std::string_view type;
  std::string_view message;
  std::string_view detail;
};

// What is left alone for a while; the numbers equal penstock.v1.CoolScope.
enum class CoolScope : uint8_t { kNone = 0, kQueue = 1, kType = 2, kGroup = 3, kKey = 4 };

enum class OutcomeKind : uint8_t { kCompleted, kFailed, kRejected, kSnoozed, kReleased, kCancelled };

struct TaskOutcome {
  TaskId task;
  FencingToken token;
  OutcomeKind kind = OutcomeKind::kCompleted;
  std::string_view result;        // completed
  std::string_view content_type;  // completed
  ErrorText error;                // failed, rejected
  std::optional<Span> delay;      // snoozed; failed: retry after
  Span run_time = 0;              // how long ago the handler began; 0: unknown
  // Snoozed, failed: until `delay` has passed.
  CoolScope cool = CoolScope::kNone;
  // Completed: enqueued in the same commit, or the outcome counts as failed. Null: none, as mostly.
  std::shared_ptr<const std::vector<NewTask>> enqueue;
};

struct ProgressReport {
  TaskId task;
  FencingToken token;
  double percent = 0;
  std::string_view text;
  std::optional<std::string_view> checkpoint = {};  // absent: what was saved stays
};

struct LogText {
  Time time = 0;
  std::string_view text;
};

struct LogReport {
  TaskId task;
  FencingToken token;
  std::vector<LogText> lines;
};

struct TypeCredit {
  std::string_view type;
  uint32_t credit = 0;
};

// Everything one WorkRequest carries. Renews the session's lease.
struct SessionInput {
  Ticket stream;
  uint32_t credit = 0;
  std::vector<TypeCredit> type_credits;
  std::vector<TaskStart> starts;
  std::vector<TaskOutcome> outcomes;
  std::vector<ProgressReport> progress_reports;
  std::vector<LogReport> log_reports;
  uint64_t frame_number = 0;
  bool stuck_changed = false;
  std::vector<TaskId> stuck_tasks;
  bool draining = false;
  bool goodbye = false;
  std::shared_ptr<const void> keepalive;
};

// The stream ended without a goodbye: the session's grace begins.
struct SessionBroken {
  Ticket stream;
};

struct DrainWorkerCommand {
  Ticket ticket;
  std::string worker;  // "w7" or a name
};

// --- tasks ---

struct GetTaskCommand {
  Ticket ticket;
  TaskId task;
};

// Answers at once with the task as it is, then after each change until it is finished or UnwatchCommand comes.
struct WatchTaskCommand {
  Ticket ticket;
  TaskId task;
  bool only_end = false;  // Wait: nothing between the first answer and the end
};

struct UnwatchCommand {
  Ticket ticket;
};

struct CancelTaskCommand {
  Ticket ticket;
  TaskId task;
  std::string reason;
};

struct RetryTaskCommand {
  Ticket ticket;
  TaskId task;
};

// A waiting task becomes another: everything but its queue's unique key, its FIFO key and its type. Answered by an
// UpdateReply. FailedPrecondition: it runs or is finished, or its queue drains. Aborted: it is another revision.
struct UpdateTaskCommand {
  Ticket ticket;
  TaskId task;
  uint32_t revision = 0;  // that `changed` was made from
  // All that it is to be, as for an enqueue; with `keep_start`, but for when it runs.
  NewTask changed;
  bool keep_start = true;
  std::shared_ptr<const void> keepalive;
};

// A task that waits, is dead or is cancelled is forgotten. FailedPrecondition: it is none of these.
struct DeleteTaskCommand {
  Ticket ticket;
  TaskId task;
};

// See ExplainReply.
struct ExplainTaskCommand {
  Ticket ticket;
  TaskId task;
};

// Tells `ticket` of each task of the queue that finishes, by TaskEvents, until UnwatchCommand comes. Answered at once.
struct SubscribeCommand {
  Ticket ticket;
  std::string queue;
  std::string type;  // empty: all
};

// Keeps a bulk job's record; an empty one is deleted. See rpc/bulk_jobs.h.
struct PutBulkJobCommand {
  Ticket ticket;
  std::string id;
  std::string record;
};

// The waiting tasks of a queue, lane by lane; the edge reads their blocks. See LanesReply.
struct ListLanesCommand {
  Ticket ticket;
  std::string queue;
  LaneId from_lane;    // lanes with this number or higher
  BlockId from_block;  // of from_lane: blocks with this number or higher
  uint32_t max_runs = 256;
  // Only lanes that may hold tasks of this FIFO key, or group: its NameHash; 0: all.
  uint64_t key = 0;
  uint64_t group = 0;
};

struct ListRunningCommand {
  Ticket ticket;
  std::string queue;
  TaskId after;
  uint32_t limit = 100;
};

// --- queues ---

struct QueueSettings {
  bool relaxed = false;  // durability
  RetryPolicy retry_policy;
  Span result_retention = 24 * 3'600 * kSecond;
  Span dead_retention = 30 * 24 * 3'600 * kSecond;
  Span run_timeout = 30 * kMinute;
  bool dead_blocks_key = false;  // a dead task keeps its FIFO key until it is redriven or deleted
  // What groups get of the queue's worker time, in proportion; a group that is not named has 1. 0.001 to 1,000.
  std::map<std::string, double> group_weights;
  uint64_t max_waiting = 0;                 // tasks; 0: no limit
  uint64_t max_waiting_bytes = 0;           // of TaskSpec; 0: no limit
  bool drop_oldest = false;                 // for a new task when it is full; otherwise that is refused
  std::optional<Span> cancelled_retention;  // absent: result_retention

  friend bool operator==(const QueueSettings&, const QueueSettings&) = default;
};

// A change of some settings; absent ones stay.
struct QueueSettingsChange {
  std::optional<bool> relaxed;
  std::optional<RetryPolicy> retry_policy;
  std::optional<Span> result_retention;
  std::optional<Span> dead_retention;
  std::optional<Span> run_timeout;
  std::optional<bool> dead_blocks_key;
  std::optional<std::map<std::string, double>> group_weights;  // in place of all
  std::optional<uint64_t> max_waiting;
  std::optional<uint64_t> max_waiting_bytes;
  std::optional<bool> drop_oldest;
  std::optional<std::optional<Span>> cancelled_retention;
};

enum class QueueVerb : uint8_t { kCreate, kUpdate, kPause, kResume, kDrain, kPurge, kDelete };

struct QueueCommand {
  Ticket ticket;
  QueueVerb verb = QueueVerb::kCreate;
  std::string queue;
  QueueSettingsChange settings;  // create, update
  bool force = false;            // delete
};

enum class DeadVerb : uint8_t { kRedrive, kPurge };

struct DeadTasksCommand {
  Ticket ticket;
  DeadVerb verb = DeadVerb::kRedrive;
  std::string queue;
  std::string type;  // empty: all
  uint32_t limit = 1'000;
};

// FIFO keys of a queue that a task holds. See KeysReply.
struct ListKeysCommand {
  Ticket ticket;
  std::string queue;
  LaneId from_lane;  // lanes with this number or higher
  uint32_t limit = 100;
};

// Takes a key from the task that holds it, unless that is running. FailedPrecondition: it is. NotFound: nobody holds
// it.
struct ReleaseKeyCommand {
  Ticket ticket;
  std::string queue;
  std::string key;
};

// --- schedules: see schedule.h ---

struct ScheduleChange;

enum class ScheduleVerb : uint8_t { kCreate, kUpdate, kGet, kPause, kResume, kRunNow, kDelete };

struct ScheduleCommand {
  Ticket ticket;
  ScheduleVerb verb = ScheduleVerb::kGet;
  std::string name;
  std::shared_ptr<const ScheduleChange> change;  // create, update
};

// In the order of their names.
struct ListSchedulesCommand {
  Ticket ticket;
  std::string after;  // names after this one
  uint32_t limit = 100;
};

// --- throttles: see throttle.h ---

struct ThrottleChange;

enum class ThrottleVerb : uint8_t { kCreate, kUpdate, kGet, kDelete };

struct ThrottleCommand {
  Ticket ticket;
  ThrottleVerb verb = ThrottleVerb::kGet;
  std::string name;
  std::shared_ptr<const ThrottleChange> change;  // create, update
  uint32_t max_meters = 100;                     // get: told of at most
};

// In the order of their names.
struct ListThrottlesCommand {
  Ticket ticket;
  std::string after;  // names after this one
  uint32_t limit = 100;
};

// All queues, workers and totals; see StatusReply.
struct StatusCommand {
  Ticket ticket;
};

using Command =
    std::variant<EnqueueCommand, SessionInput, OpenSessionCommand, SessionBroken, DrainWorkerCommand, GetTaskCommand,
                 WatchTaskCommand, UnwatchCommand, CancelTaskCommand, RetryTaskCommand, UpdateTaskCommand,
                 DeleteTaskCommand, ExplainTaskCommand, SubscribeCommand, PutBulkJobCommand, ListLanesCommand,
                 ListRunningCommand, QueueCommand, DeadTasksCommand, ListKeysCommand, ReleaseKeyCommand, StatusCommand,
                 ScheduleCommand, ListSchedulesCommand, ThrottleCommand, ListThrottlesCommand>;

// Whether a command only asks, and changes nothing that is stored.
inline bool IsQuestion(const Command& command) {
  if (const auto* schedule = std::get_if<ScheduleCommand>(&command)) return schedule->verb == ScheduleVerb::kGet;
  if (const auto* throttle = std::get_if<ThrottleCommand>(&command)) return throttle->verb == ThrottleVerb::kGet;
  return std::holds_alternative<ListThrottlesCommand>(command) || std::holds_alternative<ListKeysCommand>(command) ||
         std::holds_alternative<ExplainTaskCommand>(command) || std::holds_alternative<SubscribeCommand>(command) ||
         std::holds_alternative<ListSchedulesCommand>(command) || std::holds_alternative<GetTaskCommand>(command) ||
         std::holds_alternative<WatchTaskCommand>(command) || std::holds_alternative<UnwatchCommand>(command) ||
         std::holds_alternative<ListLanesCommand>(command) || std::holds_alternative<ListRunningCommand>(command) ||
         std::holds_alternative<StatusCommand>(command);
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_COMMAND_H_
