// The payload of report.generate, and the plug-in's options: JSON that anybody may have enqueued.

#include "tests/fuzz/fuzz_input.h"
#include "worker/handlers/report/report_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace penstock::report;  // NOLINT: all of it is here
  const std::string_view json = penstock::fuzz::TextOf(data, size);
  const auto request = ParseReportRequest(json);
  if (request.ok()) {
    FUZZ_CHECK(!request->output.empty() && request->output[0] == '/');
    FUZZ_CHECK(request->files.size() + request->inline_documents.size() >= 1);
    FUZZ_CHECK(request->OutputPath().find('\0') == std::string::npos);
  } else {
    FUZZ_CHECK(absl::IsInvalidArgument(request.status()) && !request.status().message().empty());
  }
  const auto options = ParseReportOptions(json);
  if (!options.ok()) FUZZ_CHECK(!options.status().message().empty());
  return 0;
}
