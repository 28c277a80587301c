#ifndef PENSTOCK_WORKER_WORKER_H_
#define PENSTOCK_WORKER_WORKER_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/options.h"
#include "worker/outcome.h"
#include "worker/task_context.h"

namespace penstock {

// Called from several threads at once. What it throws is a failed attempt, and harms no other.
using RawHandler = std::function<Outcome(TaskContext& context, std::string_view payload)>;
// Wraps every handler: calls `next` to go on, before, after or not at all. The first that was added is the outermost.
using Middleware = std::function<Outcome(TaskContext& context, std::string_view payload, const RawHandler& next)>;

// Takes tasks from a broker and runs registered handlers. Leases, retries, reconnecting and shutting down are its
// business: a handler just does its work and returns, and looks at its context's cancelled() if it takes long.
//
//   penstock::Worker worker({.broker = "localhost:7420", .queues = {"reports"}, .concurrency = 8});
//   worker.Register<ReportRequest, ReportResult>("report.generate",
//       [](penstock::TaskContext& context, const ReportRequest& request) -> absl::StatusOr<ReportResult> { ... });
//   return worker.Run().ok() ? 0 : 1;
//
// Register everything first, then Run or Start, from one thread. The destructor leaves behind handlers that do not
// return; what they refer to has to outlive them.
class Worker {
 public:
  explicit Worker(WorkerOptions options);
  ~Worker();  // stops
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Bytes in, outcome out. A type twice, or a wrong name, is an error of Start.
  void RegisterRaw(std::string type, RawHandler handler, HandlerOptions options = {});

  // A Protobuf message in and out. A payload that is none is rejected; Outcome::FromStatus says what statuses mean.
  template <class Request, class Response, class Handler>
  void Register(std::string type, Handler handler, HandlerOptions options = {}) {
    RegisterRaw(
        std::move(type),
        [handler = std::move(handler)](TaskContext& context, std::string_view payload) -> Outcome {
          Request request;
          if (!request.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
            return Outcome::Reject({"payload", "the payload is not a " + request.GetTypeName(), ""});
          }
          absl::StatusOr<Response> response = handler(context, std::as_const(request));
          if (!response.ok()) return Outcome::FromStatus(response.status());
          return Outcome::Done(response->SerializeAsString(), "application/x-protobuf");
        },
        options);
  }

  void Use(Middleware middleware);

  // Works until SIGTERM or SIGINT, then drains and returns; a second signal ends the process at once. Errors as Start
  // and Wait. For programs that do nothing else.
  absl::Status Run();

  // For programs with a life of their own. InvalidArgument: an option or a registration is wrong.
  absl::Status Start();
  // Takes no more tasks; those running go on. Any thread.
  void Drain();
  // Drains, waits for running handlers for drain_grace, cancels the rest, hands back what is unfinished without using
  // up an attempt, says goodbye. Safe twice and early.
  void Stop();
  // Waits until an operator drained the worker and it is empty, or Stop was called: OK. Or until the broker refused it
  // for good (a name is wrong, no permission, no such service): why; the worker does not connect again then.
  absl::Status Wait();

  // Tasks whose handlers run right now.
  int running() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace penstock

#endif  // PENSTOCK_WORKER_WORKER_H_
