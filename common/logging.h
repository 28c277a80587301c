#ifndef PENSTOCK_COMMON_LOGGING_H_
#define PENSTOCK_COMMON_LOGGING_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "spdlog/logger.h"

namespace penstock {

struct LogOptions {
  // trace, debug, info, warn, error or off; per component as in "info,engine=debug". Default info.
  std::string level = "info";
  // text or json (one object a line). Default text.
  std::string format = "text";
  // A file to append to. Default: standard error.
  std::string file;
};

// InvalidArgument unless `level` is as LogOptions.level has to be.
absl::Status ValidateLogLevel(const std::string& level);

// Sets up logging for the process. Call once, before the first LogFor. InvalidArgument names a wrong level or format.
absl::Status SetUpLogging(const LogOptions& options);

// The logger of a component, for instance "engine": made at the first call, alive until the process ends. A line is a
// fact, then fields: LogFor("engine").info("lease expired queue={} task={}", queue, task). Payloads are never logged.
spdlog::logger& LogFor(std::string_view component);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_LOGGING_H_
