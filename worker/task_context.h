#ifndef PENSTOCK_WORKER_TASK_CONTEXT_H_
#define PENSTOCK_WORKER_TASK_CONTEXT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/task.h"
#include "common/task_id.h"

namespace google::protobuf {
class MessageLite;
}

namespace penstock {

namespace v1 {
class TaskSpec;
}

// The largest checkpoint that the runtime takes; a broker may allow less (limits.checkpoint).
inline constexpr size_t kCheckpointMax = 64 << 10;

// A task as it was delivered.
struct TaskDelivery {
  TaskId id;
  uint64_t fencing_token = 0;
  int attempt = 1;
  int max_attempts = 1;
  absl::Time create_time;
  absl::Duration run_timeout;
  std::string queue;
  std::string type;
  std::string payload;
  std::string content_type;
  std::map<std::string, std::string> headers;
  std::vector<std::string> tags;
  std::string key;
  std::string group;
  std::string checkpoint;
};

enum class CancelReason {
  kNone,
  kCancelled,  // somebody cancelled the task
  kLeaseLost,  // the task was given to others: whatever this handler still does, it does beside another
  kTimeout,    // its run timeout has passed; the attempt has failed already
  kShutdown,   // the worker ends
};

// What a handler may ask and tell while it runs. Belongs to the runtime; valid until the handler returns. Any thread of
// the handler's may use it.
class TaskContext {
 public:
  // Runtime's side; see executor.h.
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual void OnProgress(TaskId task, uint64_t token, double percent, std::string text) = 0;
    virtual void OnLog(TaskId task, uint64_t token, std::string line) = 0;
    virtual void OnCheckpoint(TaskId task, uint64_t token, std::string checkpoint) = 0;
  };
  struct Shared;  // with the runtime

  TaskContext(const TaskDelivery& task, std::shared_ptr<Shared> shared, absl::Time deadline, Sink& sink);

  TaskId id() const { return task_.id; }
  const std::string& queue() const { return task_.queue; }
  const std::string& type() const { return task_.type; }
  // Which run this is, from 1, and how many there may be.
  int attempt() const { return task_.attempt; }
  int max_attempts() const { return task_.max_attempts; }
  // Grows with every delivery. Pass it to systems that the handler writes to: they refuse a smaller one than they have
  // seen.
  uint64_t fencing_token() const { return task_.fencing_token; }
  const std::map<std::string, std::string>& headers() const { return task_.headers; }
  const std::vector<std::string>& tags() const { return task_.tags; }
  const std::string& content_type() const { return task_.content_type; }
  // Its FIFO key and its group; empty: none.
  const std::string& key() const { return task_.key; }
  const std::string& group() const { return task_.group; }
  absl::Time create_time() const { return task_.create_time; }
  // When the attempt fails by timeout.
  absl::Time deadline() const { return deadline_; }

  // The handler should end soon; what it returns then counts only if it is Done and nobody else has the task.
  // Otherwise, exceptions included, a task that the worker's end stopped goes back without using up an attempt, one
  // that somebody cancelled is cancelled, and one whose time is over has failed already.
  bool cancelled() const { return cancel_reason() != CancelReason::kNone; }
  CancelReason cancel_reason() const;
  // The same for code that takes a std::stop_token, or wants to be called back (std::stop_callback).
  std::stop_token stop_token() const;
  // Waits at most `time`, less if cancelled. Returns cancelled().
  bool WaitForCancel(absl::Duration time) const;

  // Shown to operators and watchers; only the newest counts. `percent` from 0 to 100.
  void Progress(double percent, std::string text = {});
  // Kept with the task: lines of at most 4 KiB, 64 KiB in all.
  void Log(std::string line);

  // What an attempt before this one saved last; empty: nothing.
  const std::string& checkpoint() const { return task_.checkpoint; }
  // Keeps how far the task is for its next attempt, should there be one, whatever ends this one: a failure, a timeout,
  // a drain, a crash. Replaces what was saved before. On its way when this returns; a worker that crashes in that
  // moment may leave the one before. InvalidArgument: more than kCheckpointMax bytes; then what was saved stays.
  [[nodiscard]] absl::Status SaveCheckpoint(std::string checkpoint);

  // Enqueues a task in the commit that completes this one: both happen, or neither. Nothing is sent before the handler
  // returns, and it counts only if that is Done and the lease is still this worker's. If the broker refuses a task,
  // none is enqueued and the attempt fails with its reason. At most 1,000 tasks and 2 MiB of them a run;
  // options.timeout does not matter here. InvalidArgument names the field that is wrong, ResourceExhausted the limit;
  // the task is not among the others then, and the handler decides what becomes of its own.
  [[nodiscard]] absl::Status Enqueue(std::string queue, std::string type, std::string payload,
                                     EnqueueOptions options = {});
  [[nodiscard]] absl::Status Enqueue(std::string queue, std::string type, const google::protobuf::MessageLite& payload,
                                     EnqueueOptions options = {});
  // The same for the runtime's own, who have it in the API's form.
  [[nodiscard]] absl::Status EnqueueSpec(v1::TaskSpec spec);

 private:
  const TaskDelivery& task_;
  const std::shared_ptr<Shared> shared_;
  const absl::Time deadline_;
  Sink& sink_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_TASK_CONTEXT_H_
