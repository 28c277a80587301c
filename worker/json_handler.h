#ifndef PENSTOCK_WORKER_JSON_HANDLER_H_
#define PENSTOCK_WORKER_JSON_HANDLER_H_

#include <string>
#include <string_view>
#include <utility>

#include "nlohmann/json.hpp"
#include "worker/worker.h"

namespace penstock {

// JSON in and out: `handler` is called with (TaskContext&, const nlohmann::json&) and returns
// absl::StatusOr<nlohmann::json> or OutcomeOr<nlohmann::json>. A payload that is no JSON is rejected with the parser's
// message. In a header of its own, so that only who uses it needs the library.
template <class Handler>
void RegisterJson(Worker& worker, std::string type, Handler handler, HandlerOptions options = {}) {
  worker.RegisterRaw(
      std::move(type),
      [handler = std::move(handler)](TaskContext& context, std::string_view payload) -> Outcome {
        nlohmann::json request;
        try {
          request = nlohmann::json::parse(payload);
        } catch (const nlohmann::json::parse_error& error) {
          return Outcome::Reject({"payload", error.what(), ""});
        }
        OutcomeOr<nlohmann::json> response = handler(context, std::as_const(request));
        return std::move(response).ToOutcome(
            [](const nlohmann::json& answer) { return Outcome::Done(answer.dump(), "application/json"); });
      },
      options);
}

// Several tasks at once: `handler` is called with std::span<const BatchTask<nlohmann::json>> and returns a
// std::vector of absl::StatusOr<nlohmann::json> or of OutcomeOr<nlohmann::json>, one for each task, in their order. A
// payload that is no JSON is rejected by itself; the handler sees the others.
template <class Handler>
void RegisterBatchJson(Worker& worker, std::string type, Handler handler, BatchOptions options = {}) {
  worker.RegisterRawBatch(
      std::move(type),
      Worker::BatchOf<nlohmann::json, nlohmann::json>(
          std::move(handler),
          [](std::string_view payload, nlohmann::json* request) -> std::string {
            try {
              *request = nlohmann::json::parse(payload);
            } catch (const nlohmann::json::parse_error& error) {
              return error.what();
            }
            return "";
          },
          [](const nlohmann::json& response) { return Outcome::Done(response.dump(), "application/json"); }),
      options);
}

}  // namespace penstock

#endif  // PENSTOCK_WORKER_JSON_HANDLER_H_
