#ifndef PENSTOCK_WORKER_HANDLERS_REPORT_HTML_TEXT_H_
#define PENSTOCK_WORKER_HANDLERS_REPORT_HTML_TEXT_H_

// Texts and numbers as the report page shows them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace penstock::report {

// Safe in element content and in quoted attributes: & < > " ' become references. Control characters (except tab and
// line feed) and the marks that turn the direction of the text around, which can make a text look like another, become
// visible.
std::string EscapeHtml(std::string_view text);

// "0.4 ms", "12 ms", "1.25 s", "45.1 s", "3 min 05 s", "2 h 10 min".
std::string ShowTime(absl::Duration time);

// A part of 1 as "97.3 %". Only all is "100 %" and only nothing is "0 %".
std::string ShowPercent(double part);

// "1 test", "1,204 tests".
std::string ShowCount(uint64_t count, std::string_view one, std::string_view many);

// A text of several lines on one: what stands between words becomes one space, and lines at its beginning that only say
// where (GoogleTest's "a_test.cc:12" and "unknown file") are left out. At most about `size_bytes_max` bytes.
std::string OneLine(std::string_view text, size_t size_bytes_max);

}  // namespace penstock::report

#endif  // PENSTOCK_WORKER_HANDLERS_REPORT_HTML_TEXT_H_
