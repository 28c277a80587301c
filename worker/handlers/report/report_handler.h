#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_HANDLER_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_HANDLER_H_

// The handler of report.generate: JUnit XML in, an HTML page out. The payload is in report_request.h. The result is
// JSON:
//
//   {"path": "/abs/file.html", "title": "...", "tests": 120, "passed": 115, "failures": 2, "errors": 0, "skipped": 3,
//    "seconds": 12.5, "pass_rate": 0.983, "suites": 14}
//
// pass_rate leaves skipped tests out and is null when no test ran; seconds are the test cases' own, added up.
//
// Rejected (running again is of no use): a wrong payload ("payload"), broken XML ("xml", with the parser's message,
// line and column), a file that is missing or may not be read or written ("file"), a suite that no test case belongs to
// ("suite"). Retried: what may pass, such as a full disk ("io"). Failed tests are no failure of the task.
//
// A rerun writes the same file again; readers of it never see half a page.

#include "common/clock.h"
#include "worker/handlers/report/report_request.h"
#include "worker/plugin_cpp.h"

namespace penstock::report {

// Any thread may call it, several at once. `clock` dates the report.
plugin::Outcome GenerateReport(const ReportOptions& options, const Clock& clock, plugin::Task& task);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_HANDLER_H_
