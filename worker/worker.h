#ifndef PENSTOCK_WORKER_WORKER_H_
#define PENSTOCK_WORKER_WORKER_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/handler.h"
#include "worker/options.h"
#include "worker/outcome.h"
#include "worker/task_context.h"

namespace penstock {

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

  // A Protobuf message in and out: `handler` is called with (TaskContext&, const Request&) and returns
  // absl::StatusOr<Response> or OutcomeOr<Response>. A payload that is no Request is rejected; Outcome::FromStatus says
  // what statuses mean.
  template <class Request, class Response, class Handler>
  void Register(std::string type, Handler handler, HandlerOptions options = {}) {
    RegisterRaw(
        std::move(type),
        [handler = std::move(handler)](TaskContext& context, std::string_view payload) -> Outcome {
          Request request;
          if (!request.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
            return Outcome::Reject({"payload", "the payload is not a " + request.GetTypeName(), ""});
          }
          OutcomeOr<Response> response = handler(context, std::as_const(request));
          return std::move(response).ToOutcome(&Worker::DoneWith<Response>);
        },
        options);
  }

  // The same for handlers that take several tasks at once (worker/handler.h).
  void RegisterRawBatch(std::string type, RawBatchHandler handler, BatchOptions options = {});

  // Called with std::span<const BatchTask<Request>>, returns a std::vector of absl::StatusOr<Response> or of
  // OutcomeOr<Response>: one for each task, in their order. A payload that is no Request is rejected by itself; the
  // handler sees the others.
  template <class Request, class Response, class Handler>
  void RegisterBatch(std::string type, Handler handler, BatchOptions options = {}) {
    RegisterRawBatch(std::move(type),
                     BatchOf<Request, Response>(
                         std::move(handler),
                         [](std::string_view payload, Request* request) -> std::string {
                           if (request->ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return "";
                           return "the payload is not a " + request->GetTypeName();
                         },
                         &Worker::DoneWith<Response>),
                     options);
  }

  // What RegisterBatch and RegisterBatchJson are made of. `parse(payload, Request*)` returns what is wrong with a
  // payload, or nothing; `done(response)` makes an outcome of what the handler returned.
  template <class Request, class Response, class Handler, class Parse, class Done>
  static RawBatchHandler BatchOf(Handler handler, Parse parse, Done done);

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
  template <class Response>
  static Outcome DoneWith(const Response& response) {
    return Outcome::Done(response.SerializeAsString(), "application/x-protobuf");
  }

  struct Parts;
  std::unique_ptr<Parts> parts_;
};

template <class Request, class Response, class Handler, class Parse, class Done>
RawBatchHandler Worker::BatchOf(Handler handler, Parse parse, Done done) {
  return [handler = std::move(handler), parse = std::move(parse),
          done = std::move(done)](std::span<const RawBatchTask> tasks) {
    std::vector<Outcome> outcomes;
    std::vector<Request> requests;
    std::vector<BatchTask<Request>> readable;
    std::vector<size_t> places;  // of these among all
    outcomes.reserve(tasks.size());
    requests.reserve(tasks.size());
    for (size_t i = 0; i < tasks.size(); ++i) {
      Request request;
      const std::string problem = parse(tasks[i].payload, &request);
      outcomes.push_back(Outcome::Reject({"payload", problem, ""}));  // the handler decides about the others
      if (!problem.empty()) continue;
      requests.push_back(std::move(request));
      places.push_back(i);
    }
    for (size_t i = 0; i < places.size(); ++i) readable.push_back({tasks[places[i]].context, requests[i]});
    if (readable.empty()) return outcomes;
    auto responses = handler(std::span<const BatchTask<Request>>(readable));
    for (size_t i = 0; i < places.size(); ++i) {
      Outcome& outcome = outcomes[places[i]];
      if (responses.size() != places.size()) {
        outcome = Outcome::Retry({"batch",
                                  "the batch handler returned " + std::to_string(responses.size()) + " outcomes for " +
                                      std::to_string(places.size()) + " tasks; it has to return one for each",
                                  ""});
      } else {
        outcome = OutcomeOr<Response>(std::move(responses[i])).ToOutcome(done);
      }
    }
    return outcomes;
  };
}

}  // namespace penstock

#endif  // PENSTOCK_WORKER_WORKER_H_
