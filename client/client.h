#ifndef PENSTOCK_CLIENT_CLIENT_H_
#define PENSTOCK_CLIENT_CLIENT_H_

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bulk.h"
#include "client/client_options.h"
#include "client/explanation.h"
#include "client/schedules.h"
#include "client/subscription.h"
#include "client/task.h"
#include "client/task_change.h"
#include "client/task_filter.h"
#include "client/throttles.h"
#include "common/task_id.h"
#include "google/protobuf/message_lite.h"

namespace penstock {

using EnqueueCallback = std::function<void(absl::StatusOr<EnqueueResult>)>;
using EnqueueManyCallback = std::function<void(absl::StatusOr<std::vector<EnqueueResult>>)>;
using WaitCallback = std::function<void(absl::StatusOr<TaskInfo>)>;
using WatchCallback = std::function<void(absl::StatusOr<TaskInfo>)>;

// How a service hands over work and learns what became of it.
//
//   auto client = penstock::Client::Connect("localhost:7420").value();
//   penstock::TaskId id = client->Enqueue("reports", "report.generate", request).value();
//   ReportResult result = client->Wait<ReportResult>(id, absl::Minutes(5)).value();
//
// Any thread may call anything at any time. Concurrent enqueues travel together on one stream; an enqueue whose answer
// got lost is repeated under the same request id, so it is stored once. An interface, so that tests can use a
// FakeClient (client/fake_client.h).
//
// Errors: InvalidArgument (a field is wrong, or the whole call larger than the broker's limits.message),
// FailedPrecondition (the queue is draining), ResourceExhausted (a limit of the broker; nothing was stored, unless the
// message says that the outcome is unknown. With kWait the call is repeated where that can help before its deadline),
// Unavailable (no broker, with kFailFast), DeadlineExceeded (the outcome is unknown), Cancelled (the client was
// destroyed). FieldOf, LimitOf and RetryAfterOf (common/status_details.h) tell which field, which limit, and when to
// repeat.
//
// Callbacks of EnqueueAsync, EnqueueManyAsync and WaitAsync are called once, from a thread of gRPC's or the client's,
// or from that of the call before it returns, or of the client's destructor. They must not block: there are few such
// threads, and they bring the answers of every client in the process. So inside a callback
//   - EnqueueAsync, EnqueueManyAsync, WaitAsync and those that return a future never wait for room: they go over
//     in_flight_bytes instead. (But do not wait for the future there.)
//   - the calls that block (Enqueue, EnqueueMany, Wait, WaitTask, GetTask, ListTasks, CancelTask, RetryTask, ...) do
//     nothing and answer FailedPrecondition.
//   - the client must not be destroyed.
// The callbacks of Watch and Subscribe have threads of their own and may call anything.
class Client {
 public:
  // Connects in the background: no broker need be there yet. InvalidArgument: an option is wrong.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& broker) {
    ClientOptions options;
    options.broker = broker;
    return Connect(options);
  }
  // Fails calls that are under way with Cancelled.
  virtual ~Client() = default;

  // Enqueues a task; when it returns OK the task is safe. With a unique key that another task holds: that task's id.
  absl::StatusOr<TaskId> Enqueue(const std::string& queue, const std::string& type, std::string payload,
                                 EnqueueOptions options = {});
  absl::StatusOr<TaskId> Enqueue(const std::string& queue, const std::string& type,
                                 const google::protobuf::MessageLite& payload, EnqueueOptions options = {});
  // The same, telling duplicates.
  absl::StatusOr<EnqueueResult> Enqueue(NewTask task);
  // Returns as soon as the task is on its way. Blocks while ClientOptions::in_flight_bytes are on their way already, at
  // most until the call's deadline; inside a callback never.
  virtual void EnqueueAsync(NewTask task, EnqueueCallback done) = 0;
  std::future<absl::StatusOr<EnqueueResult>> EnqueueFuture(NewTask task);
  // All or none, 1 to 10,000 tasks. The first task's timeout counts.
  absl::StatusOr<std::vector<EnqueueResult>> EnqueueMany(std::vector<NewTask> tasks);
  // As EnqueueAsync.
  virtual void EnqueueManyAsync(std::vector<NewTask> tasks, EnqueueManyCallback done) = 0;
  std::future<absl::StatusOr<std::vector<EnqueueResult>>> EnqueueManyFuture(std::vector<NewTask> tasks);

  // Waits until the task is completed and returns its result: a Protobuf message, or std::string for the bytes.
  // Survives restarts of the broker. Aborted: the task is dead, with its last error. Cancelled. NotFound.
  // DeadlineExceeded: not finished yet.
  template <class Result>
  absl::StatusOr<Result> Wait(TaskId id, absl::Duration timeout);
  // Waits until the task is finished, however it ended, or the timeout has passed; then as GetTask.
  virtual absl::StatusOr<TaskInfo> WaitTask(TaskId id, absl::Duration timeout);
  // The same without a thread that waits: thousands of tasks may be waited for at a time. Never blocks.
  virtual void WaitAsync(TaskId id, absl::Duration timeout, WaitCallback done) = 0;
  std::future<absl::StatusOr<TaskInfo>> WaitFuture(TaskId id, absl::Duration timeout);
  // NotFound: no such task, or it is finished and forgotten.
  virtual absl::StatusOr<TaskInfo> GetTask(TaskId id, bool include_payload = false) = 0;

  // Calls `changed` with the task as it is and after every change, from one thread of the client's, until it is
  // finished (the last call), an error (the last call), or the returned handle is destroyed, which waits for a call
  // under way.
  virtual std::shared_ptr<void> Watch(TaskId id, WatchCallback changed) = 0;

  // Calls `told` with tasks of the queue as they finish, from now on, from one thread of the client's, until an error
  // (the last call) or the returned handle is destroyed, which waits for a call under way. A broker that goes away is
  // connected to again, and the update after that says that there is a gap. NotFound: there is no such queue, or it was
  // deleted.
  virtual std::shared_ptr<void> Subscribe(const std::string& queue, const SubscribeOptions& options,
                                          SubscribeCallback told) = 0;

  // Why a task is not running, what is before it, and when it may start; docs/explain.md. NotFound: no such task.
  virtual absl::StatusOr<TaskExplanation> ExplainTask(TaskId id) = 0;

  // Cancels a waiting task at once (true); asks a running one to stop (false). FailedPrecondition: finished already.
  // NotFound. With kWait the call is repeated when the broker goes away under it: if the first one had been heard,
  // FailedPrecondition (or NotFound) says that the task is finished, namely cancelled.
  virtual absl::StatusOr<bool> CancelTask(TaskId id, const std::string& reason = "") = 0;
  // Runs a scheduled or retryable task now, or redrives a dead one. FailedPrecondition: none of these. NotFound. With
  // kWait it is repeated as CancelTask is: if the first one had been heard, FailedPrecondition says that the task is
  // available already, or further. Should it have run and failed meanwhile, the repetition runs it once more at once.
  virtual absl::Status RetryTask(TaskId id) = 0;

  // Changes a task that waits; what is not set stays. FailedPrecondition: it runs, is finished, or its new queue
  // drains. NotFound. Aborted: it is not the revision that was asked for. ResourceExhausted: its new queue is full.
  // With kWait it is repeated as CancelTask is: if the first one had been heard and a revision was named, Aborted says
  // so.
  virtual absl::StatusOr<ChangedTask> UpdateTask(TaskId id, const TaskChange& change) = 0;
  // Deletes a task that waits, is dead or is cancelled, with all that is kept of it; one that waits never starts.
  // FailedPrecondition: it runs or is completed. NotFound; also of a repetition, if the first one had been heard.
  virtual absl::Status DeleteTask(TaskId id) = 0;

  // A page of the tasks that fit, of all states in turn; a page may be short, even empty, and not the last. Tasks that
  // change their state between two pages may be missed or come twice. NotFound: no such queue. InvalidArgument: also
  // when `page_token` is that of another filter.
  virtual absl::StatusOr<TaskPage> ListTasks(const TaskFilter& filter, int page_size = 100,
                                             const std::string& page_token = "") = 0;

  // Cancels, retries or deletes all tasks that a filter names, see client/bulk.h. Lives as long as the client.
  virtual BulkClient& Bulk() = 0;

  // Tasks made by the clock, see client/schedules.h. Lives as long as the client.
  virtual ScheduleClient& Schedules() = 0;

  // How many tasks run at once, and start in a time, see client/throttles.h. Lives as long as the client.
  virtual ThrottleClient& Throttles() = 0;

 private:
  static absl::StatusOr<std::string> ResultOf(absl::StatusOr<TaskInfo> task);
};

template <class Result>
absl::StatusOr<Result> Client::Wait(TaskId id, absl::Duration timeout) {
  absl::StatusOr<std::string> bytes = ResultOf(WaitTask(id, timeout));
  if constexpr (std::is_same_v<Result, std::string>) {
    return bytes;
  } else {
    if (!bytes.ok()) return bytes.status();
    Result result;
    if (!result.ParseFromString(*bytes)) {
      return absl::DataLossError("the task's result is not a " + result.GetTypeName());
    }
    return result;
  }
}

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_CLIENT_H_
