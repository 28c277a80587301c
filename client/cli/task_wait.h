#ifndef PENSTOCK_CLIENT_CLI_TASK_WAIT_H_
#define PENSTOCK_CLIENT_CLI_TASK_WAIT_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/context.h"
#include "penstock/v1/task.pb.h"

namespace penstock::cli {

// Waits in the broker until the task is finished. A broker that goes away is waited for as well, once it has answered.
// DeadlineExceeded at `deadline`. With `look`: it is called with the task at least once every `every`.
absl::StatusOr<v1::Task> WaitUntilFinished(CommandContext& context, const std::string& id, absl::Time deadline,
                                           absl::Duration every = absl::Minutes(10),
                                           const std::function<absl::Status(const v1::Task&)>& look = nullptr);

// Says on standard error why a finished task did not complete. 0 if it did, 1 if it is dead or cancelled.
int ReportOutcome(CommandContext& context, const v1::Task& task);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_TASK_WAIT_H_
