#ifndef PENSTOCK_CLIENT_CLI_ESTIMATE_TEXT_H_
#define PENSTOCK_CLIENT_CLI_ESTIMATE_TEXT_H_

#include <string>

#include "absl/time/time.h"
#include "client/cli/context.h"
#include "penstock/v1/task.pb.h"
#include "penstock/v1/task_service.pb.h"

namespace penstock::cli {

// "about 12s (8s to 20s)"; "at once". Two digits: nobody knows more.
std::string EstimateText(const v1::TimeEstimate& estimate);
// "12 of its queue", "about 12 of its queue (3 to 40)", "none".
std::string PositionText(const v1::QueuePosition& position);
// The lines of a task's story that say why it is not running and when it will be; empty: it runs or is finished.
// `width`: of the labels.
std::string ExplainLines(const CommandContext& context, const v1::ExplainTaskResponse& explain, int width);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_ESTIMATE_TEXT_H_
