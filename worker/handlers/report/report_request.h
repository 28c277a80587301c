#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_REQUEST_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_REQUEST_H_

// The payload of report.generate and the options of the plug-in, both JSON.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace penstock::report {

// {"title": "...", "files": ["/abs/a.xml", ...], "inline": ["<testsuites>...", ...], "suite": "...", "output":
// "/abs/dir or file"}
struct ReportRequest {
  static constexpr size_t kDocumentsMax = 10'000;
  static constexpr size_t kTitleBytesMax = 256;
  static constexpr size_t kSuiteBytesMax = 512;

  std::string title;                          // Default: the suite, or "Test report".
  std::vector<std::string> files;             // Absolute paths. With documents at least one.
  std::vector<std::string> inline_documents;  // "inline": JUnit XML as text.
  std::string suite;                          // Only this suite; default: all.
  std::string
      output;  // Absolute; a path that ends in .html or .htm is the file, any other the folder for it. Required.

  // Where the report goes: `output`, or in that folder a name made of the title.
  std::string OutputPath() const;
};

// InvalidArgument, "<field>: <what is wrong>".
absl::StatusOr<ReportRequest> ParseReportRequest(std::string_view json);

// {"folders": ["/srv/ci", ...]}
struct ReportOptions {
  // Files are read and reports written only below these, symbolic links resolved. Default, an empty list: anywhere that
  // the worker's user may. Set it when people whom the worker does not trust can enqueue.
  std::vector<std::string> folders;
};

// InvalidArgument, "<field>: <what is wrong>".
absl::StatusOr<ReportOptions> ParseReportOptions(std::string_view json);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_REQUEST_H_
