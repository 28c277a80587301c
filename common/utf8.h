#ifndef PENSTOCK_COMMON_UTF8_H_
#define PENSTOCK_COMMON_UTF8_H_

#include <string>

namespace penstock {

// Every byte that belongs to no character of UTF-8 (RFC 3629) becomes '?'. Texts of the API are UTF-8: one wrong byte
// makes a whole message unreadable.
void CleanUtf8(std::string* text);

}  // namespace penstock

#endif  // PENSTOCK_COMMON_UTF8_H_
