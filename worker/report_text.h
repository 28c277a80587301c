#ifndef PENSTOCK_WORKER_REPORT_TEXT_H_
#define PENSTOCK_WORKER_REPORT_TEXT_H_

#include <cstddef>
#include <string>

namespace penstock {

// Handlers' words on their way to the broker. Texts of the API are UTF-8: one wrong byte would make the whole frame,
// with the outcomes of other tasks, unreadable. So what handlers say is cut and cleaned here, before it is kept.

// At most `size_max` bytes, the front; what is no UTF-8 becomes '?'.
void CleanText(size_t size_max, std::string* text);

// The same, but cut in the middle: errors say what they are first and where they come from last.
void CleanErrorText(size_t size_max, std::string* text);

}  // namespace penstock

#endif  // PENSTOCK_WORKER_REPORT_TEXT_H_
