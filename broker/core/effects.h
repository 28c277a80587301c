#ifndef PENSTOCK_BROKER_CORE_EFFECTS_H_
#define PENSTOCK_BROKER_CORE_EFFECTS_H_

// What follows from a batch of commands, as data. The engine releases a batch's effects once its writes are
// committed: replies, deliveries and events alike.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "broker/core/command.h"
#include "broker/core/core_types.h"
#include "broker/core/queue_times.h"
#include "broker/core/schedule.h"
#include "broker/core/throttle.h"

namespace penstock::broker {

// --- replies ---

struct EnqueueResult {
  TaskId task;
  bool duplicate = false;
  bool replaced = false;  // the duplicate has become what the new one was to be
};

// Where a finished task's history stands: key (bucket, sequence) of family kHistory.
struct HistoryAddress {
  uint32_t bucket = 0;
  uint64_t sequence = 0;

  friend bool operator==(const HistoryAddress&, const HistoryAddress&) = default;
};

// What the core knows of a task without reading the store. The edge joins it with the store as it is after the same
// batch (rpc/task_reader.h): an exception record first, then the block, then history.
struct TaskSnapshot {
  TaskId task;
  enum class Place : uint8_t {
    kStore,  // nothing in memory: what the store says holds; a task in a living block without an exception record waits
    kRunning,   // leased: the fields below are set
    kFinished,  // finished at its first attempt: one of `finishes` names it
    kGone,      // purged or forgotten
  };
  Place place = Place::kStore;
  std::vector<HistoryAddress> finishes;
  // Running, and in watch events:
  State state = State::kAvailable;
  uint32_t attempt = 0;
  std::string worker;
  Time start_time = 0;  // 0: delivered, not started
  bool cancel_requested = false;
  bool stuck = false;
  double progress_percent = 0;
  std::string progress_text;
  Time progress_time = 0;        // 0: none reported
  Span progress_remaining = -1;  // of the run, if it goes on as it went; -1: nobody can tell
  // Why nobody runs it although it is available; empty: no outward reason.
  std::string waiting_reason;
  // Watch events about the end of a task; its history may be forgotten already.
  std::string result;
  std::string result_content_type;
  Time end_time = 0;
};

struct TaskReply {
  TaskSnapshot snapshot;
};

struct CancelReply {
  State state = State::kCancelled;
};

struct RetryReply {
  Time run_time = 0;
};

struct UpdateReply {
  uint32_t revision = 0;
  Time run_time = 0;
};

// A span that is guessed: nine times in ten it is from `low` to `high`. kNever: nobody can tell.
struct SpanEstimate {
  Span expected = kNever;
  Span low = 0;
  Span high = kNever;
  bool known() const { return expected != kNever; }
};

// One thing that keeps a task from running; the numbers equal penstock.v1.WaitReason.Code.
struct WaitReason {
  enum class Code : uint8_t {
    kNotDue = 1,
    kQueuePaused = 2,
    kKeyHeld = 3,
    kKeyTurn = 4,
    kThrottled = 5,
    kCooling = 6,
    kNoWorker = 7,
    kNoWorkerWithLabels = 8,
    kWorkersDraining = 9,
    kWorkersBusy = 10,
    kTurn = 11,
    kBrokerStopping = 12,
    kReclaim = 13,
  };
  Code code = Code::kTurn;
  std::string text;
  std::vector<TaskId> tasks;  // in its way; at most 10
  std::string throttle;
  Time until = 0;  // when it ends by itself; 0: something has to happen first
};

// Why a task is not running.
struct ExplainReply {
  State state = State::kAvailable;
  std::vector<WaitReason> reasons;  // what to do about it first
  bool waits = false;               // the following are set
  uint64_t before = 0;              // tasks that are handed out before it, about
  uint64_t before_low = 0;
  uint64_t before_high = 0;
  SpanEstimate starts_in;
};

// A run of waiting tasks of one lane in one block.
struct LaneRun {
  BlockId block;
  uint16_t entry = 0;           // the lane's directory entry in it
  bool compacted = false;       // the block is stored as a compacted block
  std::vector<uint16_t> slots;  // empty: every fresh slot of the entry
};

struct LaneView {
  LaneId lane;
  std::string type;  // empty: the lane of a FIFO key, whose tasks may be of several
  uint8_t priority = 0;
  std::vector<LaneRun> runs;  // tasks enqueued without delay, oldest first
  bool has_timed = false;     // the store's timers of this lane hold more (scheduled, retryable, returned)
};

struct LanesReply {
  QueueId queue;
  std::vector<LaneView> lanes;
  // More runs are left, from here.
  bool more = false;
  LaneId next_lane;
  BlockId next_block;
};

struct RunningReply {
  std::vector<TaskSnapshot> tasks;  // in the order of their ids
  bool more = false;
};

struct QueueCounters {
  uint64_t scheduled = 0;
  uint64_t available = 0;
  uint64_t running = 0;
  uint64_t retryable = 0;
  uint64_t dead = 0;
  uint64_t enqueued_total = 0;
  uint64_t completed_total = 0;
  uint64_t failed_total = 0;
  uint64_t cancelled_total = 0;
  uint64_t dead_total = 0;

  friend bool operator==(const QueueCounters&, const QueueCounters&) = default;
};

struct QueueView {
  QueueId id;
  std::string name;
  QueueSettings settings;
  bool paused = false;
  bool draining = false;
  Time create_time = 0;
  QueueCounters counters;
  QueueTimes times;
  uint64_t waiting_bytes = 0;                // while there is a limit
  SpanEstimate drained_in;                   // of what is due
  Time oldest_available = kNever;            // since when the oldest available task has been so
  std::vector<std::string> unhandled_types;  // at most 10
};

struct WorkerView {
  SessionNumber number;  // worker_id is "w" and this number
  std::string name;
  std::string host;
  int32_t pid = 0;
  std::string version;
  std::vector<std::string> queues;
  std::vector<std::string> types;
  uint32_t concurrency = 0;
  uint32_t running = 0;
  uint32_t started = 0;
  Time connect_time = 0;
  Span silence = 0;
  bool connected = false;
  bool draining = false;
  std::vector<TaskId> stuck_tasks;
  Span oldest_run = 0;
  std::map<std::string, std::string> labels;
};

// A throttle that exists, and how many of the queues, types, groups or keys that it counts apart it keeps waiting now.
struct ThrottleLoad {
  std::string name;
  uint64_t waiting = 0;
};

struct StatusReply {
  std::vector<QueueView> queues;    // in the order of their names
  std::vector<WorkerView> workers;  // in the order of their numbers
  uint64_t epoch = 0;
  uint64_t type_count = 0;
  uint64_t lane_count = 0;
  uint64_t running_count = 0;
  std::vector<ThrottleLoad> throttles;  // in the order of their numbers
  uint64_t cooled_waiting = 0;          // queues, types, groups and keys that are left alone, and have tasks that wait
};

struct QueueReply {
  QueueView queue;
  uint64_t purged = 0;
};

// A FIFO key that a task holds. The key itself stands in that task's spec.
struct KeyView {
  TaskId holder;
  State state = State::kRunning;  // of the holder: running, retryable, available again, or dead
  Time due = 0;                   // when it runs again; 0: it is running or dead
  uint64_t waiting = 0;           // tasks behind it
  SpanEstimate drained_in;
};

struct KeysReply {
  std::vector<KeyView> keys;
  bool more = false;
  LaneId next_lane;
};

struct DeadTasksReply {
  uint64_t changed = 0;
  uint64_t remaining = 0;
  bool exhausted = false;
};

struct ScheduleReply {
  ScheduleView schedule;
  TaskId task;  // run now
};

struct SchedulesReply {
  std::vector<ScheduleView> schedules;
  bool more = false;
};

struct ThrottleReply {
  ThrottleView throttle;
};

struct ThrottlesReply {
  std::vector<ThrottleView> throttles;  // without their meters
  bool more = false;
};

struct EnqueueReply {
  std::vector<EnqueueResult> results;
};

// The answer to the command with this ticket. With a status that is not OK, `value` is monostate.
struct Reply {
  Ticket ticket;
  absl::Status status;
  std::variant<std::monostate, EnqueueReply, TaskReply, CancelReply, RetryReply, UpdateReply, ExplainReply, LanesReply,
               RunningReply, QueueReply, DeadTasksReply, KeysReply, StatusReply, ScheduleReply, SchedulesReply,
               ThrottleReply, ThrottlesReply>
      value;
};

// --- to workers ---

struct Delivery {
  TaskId task;
  FencingToken token;
  uint32_t attempt = 1;
  uint32_t max_attempts = 0;
  Time create_time = 0;
  Span run_timeout = 0;
  // The serialized TaskSpec; `keepalive` owns the bytes: its block, or what the task was changed to.
  std::string_view spec;
  std::shared_ptr<const void> keepalive;
  std::string checkpoint;
};

enum class RefusalReason : uint8_t { kStaleLease = 1, kAlreadyFinished = 2, kInvalid = 3 };

struct Refusal {
  TaskId task;
  FencingToken token;
  RefusalReason reason = RefusalReason::kStaleLease;
  std::string message = {};  // invalid: what is wrong
};

struct SessionWelcome {
  SessionNumber number;
  std::string session_id;
  bool resumed = false;
  Span lease = 0;
  std::vector<TaskId> lost_tasks;
  std::vector<TaskId> cancelled_tasks;
};

// What a batch has for one stream; at most one a stream and batch.
struct SessionMessage {
  Ticket stream;
  std::optional<SessionWelcome> welcome;
  std::vector<Delivery> deliveries;
  uint64_t acknowledged_frame = 0;  // 0: nothing new
  std::vector<Refusal> refusals;
  std::vector<TaskId> cancelled_tasks;
  bool drain = false;
  // The stream ends with this status after the rest has been sent.
  std::optional<absl::Status> end;
};

// --- to watchers ---

// A watched task changed. After an event with a final state, or with an error, the watch is over.
struct WatchEvent {
  Ticket ticket;
  absl::Status status;
  TaskSnapshot snapshot;
};

// A task has finished; for subscribers of its queue.
struct TaskEvent {
  Ticket ticket;
  TaskId task;
  State state = State::kCompleted;
  TypeId type;
  std::string type_name;
  uint32_t attempt = 0;
  Time time = 0;
  DeadReason dead_reason = DeadReason::kNone;
};

// --- for logs: the core does not log, the engine does ---

struct LogFact {
  enum class Kind : uint8_t {
    kSessionOpened,
    kSessionResumed,
    kSessionBroken,
    kSessionEnded,
    kTaskDead,
    kQueueCreated,
    kQueueChanged,
    kQueueDeleted,
    kQueuePurged,
    kKeyReleased,
    kScheduleChanged,
    kScheduleFailed,
    kThrottleChanged,
    kRecordUnreadable,
  };
  Kind kind;
  std::string text;
};

struct Effects {
  std::vector<Reply> replies;
  std::vector<SessionMessage> session_messages;
  std::vector<WatchEvent> watch_events;
  std::vector<TaskEvent> task_events;
  std::vector<LogFact> facts;
  // Something in the batch was promised to be on disk before it is released.
  bool needs_sync = false;

  void Clear() {
    replies.clear();
    session_messages.clear();
    watch_events.clear();
    task_events.clear();
    facts.clear();
    needs_sync = false;
  }
  bool empty() const {
    return replies.empty() && session_messages.empty() && watch_events.empty() && task_events.empty() && facts.empty();
  }
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_EFFECTS_H_
