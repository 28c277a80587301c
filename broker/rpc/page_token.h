#ifndef PENSTOCK_BROKER_RPC_PAGE_TOKEN_H_
#define PENSTOCK_BROKER_RPC_PAGE_TOKEN_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace penstock::broker {

// Where the next page of a list begins: opaque to callers, hexadecimal digits. A forged one shows no more than a list
// shows anyway.
struct PageToken {
  uint8_t phase = 0;
  std::array<uint64_t, 3> place{};  // what the phase makes of it
  uint64_t filter = 0;              // of what the list shows (TaskFilter::hash); 0: it always shows all

  std::string ToString() const;
  // The empty text is the first page. InvalidArgument names page_token.
  static absl::StatusOr<PageToken> Parse(std::string_view text);

  friend bool operator==(const PageToken&, const PageToken&) = default;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_PAGE_TOKEN_H_
