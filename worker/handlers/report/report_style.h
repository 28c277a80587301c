#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_STYLE_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_STYLE_H_

#include <string_view>

namespace penstock::report {

// The page's style sheet: light and dark, from 360 px up, and on paper. Text has a contrast of at least 4.5 to 1.
extern const std::string_view kReportStyle;

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_STYLE_H_
