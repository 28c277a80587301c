// penstock-report.so: the report handler as a plug-in.

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/text.h"
#include "common/version.h"
#include "worker/handlers/report/report_handler.h"
#include "worker/handlers/report/report_request.h"
#include "worker/plugin_cpp.h"

namespace penstock::report {
namespace {

void Register(plugin::Registry& registry) {
  absl::StatusOr<ReportOptions> options = ParseReportOptions(registry.options_json());
  if (!options.ok()) return registry.Fail(ToStd(options.status().message()));
  registry.Handle("report.generate", [options = *std::move(options)](plugin::Task& task) {
    return GenerateReport(options, SystemClock(), task);
  });
}

}  // namespace
}  // namespace penstock::report

PENSTOCK_PLUGIN("report", penstock::kVersion, penstock::report::Register)
