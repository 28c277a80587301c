#ifndef PENSTOCK_WORKER_FRAME_CONVERT_H_
#define PENSTOCK_WORKER_FRAME_CONVERT_H_

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "penstock/v1/worker_service.pb.h"
#include "worker/options.h"
#include "worker/task_context.h"
#include "worker/worker_core.h"

namespace penstock {

// Between the core's plain structs and the messages of worker_service.proto. Nothing is decided here but that a result
// which the broker would refuse is reported as a failure that says so.

absl::Duration ToDuration(const google::protobuf::Duration& duration);

// Takes the payload and the texts out of `in`.
TaskDelivery ToDelivery(v1::Delivery* in);

// `types`: with the limit of each, 0 for none. `session_id` empty: a new session.
void FillHello(const WorkerOptions& options, const std::vector<std::pair<std::string, int>>& types,
               const std::string& session_id, const std::vector<WorkerCore::HeldTask>& held, v1::Hello* hello);

void FillRequest(const WorkerCore::Frame& frame, size_t max_result_bytes, v1::WorkRequest* request);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_FRAME_CONVERT_H_
