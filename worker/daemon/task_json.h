#ifndef PENSTOCK_WORKER_DAEMON_TASK_JSON_H_
#define PENSTOCK_WORKER_DAEMON_TASK_JSON_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "penstock/v1/task.pb.h"
#include "worker/task_context.h"

namespace penstock {

// A task to enqueue, as a JSON object: a TaskSpec (proto/penstock/v1/task.proto) as Protobuf writes it in JSON, whose
// payload may be given as it is instead of in Base64:
//
//   {"queue": "mail", "type": "mail.send", "text": "hello", "delay": "30s"}
//   {"queue": "mail", "type": "mail.send", "json": {"to": "ann"}, "unique_key": {"key": "ann"}}
//
// "json" also sets content_type to application/json, unless it is given. InvalidArgument says what is wrong.
absl::StatusOr<v1::TaskSpec> ParseTaskJson(std::string_view text);

// The same for a task whose queue, type and payload are given otherwise: what else there is about it. Empty: nothing.
absl::StatusOr<v1::TaskSpec> ParseTaskOptions(std::string_view options, const std::string& queue,
                                              const std::string& type);

// One such object a line; empty lines are nothing. Enqueues them with the run's completion. The error names the line.
absl::Status EnqueueTaskLines(std::string_view lines, TaskContext& context);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_DAEMON_TASK_JSON_H_
