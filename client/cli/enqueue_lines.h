#ifndef PENSTOCK_CLIENT_CLI_ENQUEUE_LINES_H_
#define PENSTOCK_CLIENT_CLI_ENQUEUE_LINES_H_

#include "absl/status/statusor.h"
#include "client/cli/context.h"
#include "client/task.h"

namespace penstock::cli {

// Enqueues a task for every line of standard input that is not empty: like `model`, with the line as its payload. Many
// are on their way at a time. Exit code: 0 all are enqueued, 7 some are not, otherwise what the failure says. A failure
// that would be every later task's too ends it.
absl::StatusOr<int> EnqueueLines(CommandContext& context, const NewTask& model);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_ENQUEUE_LINES_H_
