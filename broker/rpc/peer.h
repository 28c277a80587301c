#ifndef PENSTOCK_BROKER_RPC_PEER_H_
#define PENSTOCK_BROKER_RPC_PEER_H_

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::broker {

// An address as 16 bytes; of IPv4 in the form ::ffff:a.b.c.d, whichever kind of socket it came from.
using HostBytes = std::array<uint8_t, 16>;

// The other end of a connection.
struct Peer {
  HostBytes host = {};
  uint16_t port = 0;

  // All zeros for what is neither IPv4 nor IPv6.
  static Peer From(const sockaddr_storage& address);
  // As gRPC writes it: ipv4:127.0.0.1:7420 or ipv6:%5B::1%5D:7420. Nothing: it is another kind of address.
  static std::optional<Peer> FromUri(std::string_view uri);

  // What limits per address count by: an IPv4 address, or the first 64 bits of an IPv6 one, since whoever has one
  // address of such a network has them all.
  HostBytes Network() const;
  // The address without the port, for logs.
  std::string HostText() const;

  auto operator<=>(const Peer&) const = default;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_PEER_H_
