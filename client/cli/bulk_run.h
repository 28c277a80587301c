#ifndef PENSTOCK_CLIENT_CLI_BULK_RUN_H_
#define PENSTOCK_CLIENT_CLI_BULK_RUN_H_

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/context.h"
#include "penstock/v1/bulk_service.pb.h"

namespace penstock::cli {

// Starts a job. With `detach` prints its id and returns; otherwise shows on a terminal how far it is until it has
// ended, then prints it. The job is the broker's: it goes on if this command is interrupted.
absl::StatusOr<int> RunBulkJob(CommandContext& context, const v1::BulkJobSpec& spec, bool detach);

// The same for one that was started before.
absl::StatusOr<int> WaitForBulkJob(CommandContext& context, const std::string& id);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BULK_RUN_H_
