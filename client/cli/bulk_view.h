#ifndef PENSTOCK_CLIENT_CLI_BULK_VIEW_H_
#define PENSTOCK_CLIENT_CLI_BULK_VIEW_H_

#include <string>
#include <vector>

#include "client/cli/context.h"
#include "client/cli/table.h"
#include "penstock/v1/bulk_service.pb.h"

namespace penstock::cli {

// Everything about a job, a fact a line.
std::string RenderBulkJob(const CommandContext& context, const v1::BulkJob& job);
std::vector<Column> BulkJobColumns();
std::vector<Cell> BulkJobCells(const v1::BulkJob& job, absl::Time now);

// "333 cancelled, 2 skipped of 335 that fitted, 1,000 seen".
std::string BulkCounts(const v1::BulkJob& job);
// "running".
std::string BulkStateWord(v1::BulkJobState state);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BULK_VIEW_H_
