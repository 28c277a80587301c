#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_CHARTS_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_CHARTS_H_

// The report's charts as inline SVG, coloured by the classes of the page's style sheet. Every chart has a title that
// says what it shows in words; the numbers stand beside it as text as well.

#include <string>

#include "worker/handlers/report/report_model.h"

namespace penstock::report {

// A ring with the outcomes' parts, the pass rate in its middle.
std::string OutcomeRing(const Totals& totals);

// Columns: how many tests took how long.
std::string DurationColumns(const DurationHistogram& histogram);

// A strip with the outcomes' parts, its whole length being `part_of_longest` (0 to 1) of the space.
std::string OutcomeStrip(const Totals& totals, double part_of_longest);

// A plain bar of that length. For the eye only: the number stands beside it.
std::string Bar(double part_of_longest);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_REPORT_CHARTS_H_
