#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_HTML_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_HTML_H_

#include <string>

#include "worker/handlers/report/report_model.h"

namespace penstock::report {

// The report as one HTML page that needs nothing else: no script, no font, no picture, no network (its content security
// policy forbids them). Equal reports give equal pages. Every text of the report is escaped.
std::string RenderHtml(const Report& report);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_HTML_H_
