#ifndef PENSTOCK_COMMON_NAMES_H_
#define PENSTOCK_COMMON_NAMES_H_

#include <string>
#include <string_view>

namespace penstock {

// What names of queues and types may be: 1 to 128 of A-Z a-z 0-9 . _ : - / (proto/penstock/v1/task.proto; a broker may
// allow fewer). The text says what is wrong with a name; empty: nothing.
std::string ProblemOfName(std::string_view name, size_t size_max = 128);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_NAMES_H_
