#ifndef PENSTOCK_BROKER_LISTEN_ADDRESS_H_
#define PENSTOCK_BROKER_LISTEN_ADDRESS_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace penstock::broker {

// Where a server listens: "127.0.0.1:7420", "[::1]:7420", "localhost:7420", "0.0.0.0:7420".
struct ListenAddress {
  std::string host;  // without brackets
  int port = 0;      // 0: any that is free

  // Only programs of this machine can reach it. A name other than localhost counts as reachable.
  bool IsLoopback() const;
};

// InvalidArgument says what would be valid.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_LISTEN_ADDRESS_H_
