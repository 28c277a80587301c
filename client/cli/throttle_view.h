#ifndef PENSTOCK_CLIENT_CLI_THROTTLE_VIEW_H_
#define PENSTOCK_CLIENT_CLI_THROTTLE_VIEW_H_

// Throttles as people read them.

#include <string>
#include <vector>

#include "client/cli/context.h"
#include "client/cli/table.h"
#include "penstock/v1/throttle_service.pb.h"

namespace penstock::cli {

std::string RenderThrottle(const CommandContext& context, const v1::Throttle& throttle);

// A throttle as a row of a list.
std::vector<Column> ThrottleColumns();
std::vector<Cell> ThrottleCells(const v1::Throttle& throttle);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_THROTTLE_VIEW_H_
