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
#include "client/client_options.h"
#include "client/task.h"
#include "common/task_id.h"
#include "google/protobuf/message_lite.h"

namespace penstock {

using EnqueueCallback = std::function<void(absl::StatusOr<EnqueueResult>)>;
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
// Errors: InvalidArgument (a field is wrong; named), FailedPrecondition (the queue is draining), ResourceExhausted (a
// limit of the broker; nothing was stored. With kWait the call is repeated where that can help before its deadline),
// Unavailable (no broker, with kFailFast), DeadlineExceeded (the outcome is unknown), Cancelled (the client was
// destroyed).
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
  std::future<absl::StatusOr<EnqueueResult>> EnqueueFuture(NewTask task);
  // `done` is called once, from a thread of the client's; it must not block. It may be called before this returns.
  virtual void EnqueueAsync(NewTask task, EnqueueCallback done) = 0;
  // All or none, 1 to 10,000 tasks. The first task's timeout counts.
  virtual absl::StatusOr<std::vector<EnqueueResult>> EnqueueMany(std::vector<NewTask> tasks) = 0;

  // Waits until the task is completed and returns its result: a Protobuf message, or std::string for the bytes.
  // Survives restarts of the broker. Aborted: the task is dead, with its last error. Cancelled. NotFound.
  // DeadlineExceeded: not finished yet.
  template <class Result>
  absl::StatusOr<Result> Wait(TaskId id, absl::Duration timeout);
  // Waits until the task is finished, however it ended, or the timeout has passed; then as GetTask.
  virtual absl::StatusOr<TaskInfo> WaitTask(TaskId id, absl::Duration timeout) = 0;
  // NotFound: no such task, or it is finished and forgotten.
  virtual absl::StatusOr<TaskInfo> GetTask(TaskId id, bool include_payload = false) = 0;

  // Calls `changed` with the task as it is and after every change, from one thread of the client's, until it is
  // finished (the last call), an error (the last call), or the returned handle is destroyed, which waits for a call
  // under way.
  virtual std::shared_ptr<void> Watch(TaskId id, WatchCallback changed) = 0;

  // Cancels a waiting task at once (true); asks a running one to stop (false). FailedPrecondition: finished already.
  // NotFound.
  virtual absl::StatusOr<bool> CancelTask(TaskId id, const std::string& reason = "") = 0;
  // Runs a scheduled or retryable task now, or redrives a dead one. FailedPrecondition: none of these. NotFound.
  virtual absl::Status RetryTask(TaskId id) = 0;

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
