#ifndef PENSTOCK_BROKER_RPC_CONVERT_WORKER_H_
#define PENSTOCK_BROKER_RPC_CONVERT_WORKER_H_

// What workers say and hear, in the core's words and back: WorkerService.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/command.h"
#include "broker/core/effects.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/convert.h"
#include "penstock/v1/worker_service.pb.h"

namespace penstock::broker {

// Stream and, for a new session, session id are the caller's to fill in.
absl::StatusOr<Sized<OpenSessionCommand>> ToCommand(const v1::Hello& hello, const ApiLimits& limits);

struct ConvertedWork {
  SessionInput input;
  // What of the request is wrong, to be sent to the worker: outcomes taken as failures, starts and reports left out.
  std::vector<v1::Refusal> refusals;
  size_t bytes = 0;
};

// A request to be read into. Its parts lie in one arena: freeing them one by one would cost as much as reading them.
std::shared_ptr<v1::WorkRequest> NewWorkRequest();
// Everything but the hello. Texts that are too long are cut in place; the views of the input point into the request,
// which it keeps alive. An error (a field of the session itself is wrong) ends the stream. `request_bytes`: its size on
// the wire. `now` is wall time.
absl::StatusOr<ConvertedWork> ToInput(const std::shared_ptr<v1::WorkRequest>& request, size_t request_bytes,
                                      const ApiLimits& limits, Time now);
// The request, its hello aside, says something.
bool HasInput(const v1::WorkRequest& request);

void ToProto(const Refusal& refusal, v1::Refusal* out);
void ToProto(const SessionWelcome& welcome, const ApiLimits& limits, const std::string& broker_version,
             v1::Welcome* out);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_CONVERT_WORKER_H_
