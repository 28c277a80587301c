#include "broker/rpc/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"

namespace penstock::broker {
namespace {

// What stands before an IPv4 address in its IPv6 form.
constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool IsMapped(const HostBytes& host) { return std::equal(kMapped.begin(), kMapped.end(), host.begin()); }

}  // namespace

Peer Peer::From(const sockaddr_storage& address) {
  Peer peer;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    std::copy(kMapped.begin(), kMapped.end(), peer.host.begin());
    const auto* bytes = reinterpret_cast<const uint8_t*>(&v4.sin_addr);
    std::copy(bytes, bytes + 4, peer.host.begin() + kMapped.size());
    peer.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    std::copy(std::begin(v6.sin6_addr.s6_addr), std::end(v6.sin6_addr.s6_addr), peer.host.begin());
    peer.port = ntohs(v6.sin6_port);
  }
  return peer;
}

std::optional<Peer> Peer::FromUri(std::string_view uri) {
  const bool v6 = uri.starts_with("ipv6:");
  if (!v6 && !uri.starts_with("ipv4:")) return std::nullopt;
  std::string text = absl::StrReplaceAll({uri.data() + 5, uri.size() - 5}, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
  const size_t colon = text.rfind(':');
  Peer peer;
  uint32_t port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 0xffff) {
    return std::nullopt;
  }
  peer.port = static_cast<uint16_t>(port);
  text.resize(colon);
  if (!v6) {
    std::copy(kMapped.begin(), kMapped.end(), peer.host.begin());
    if (inet_pton(AF_INET, text.c_str(), peer.host.data() + kMapped.size()) != 1) return std::nullopt;
    return peer;
  }
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  text = text.substr(0, text.find('%'));  // the interface of a link-local address
  if (inet_pton(AF_INET6, text.c_str(), peer.host.data()) != 1) return std::nullopt;
  return peer;
}

HostBytes Peer::Network() const {
  HostBytes network = host;
  if (!IsMapped(host)) std::fill(network.begin() + 8, network.end(), 0);
  return network;
}

std::string Peer::HostText() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (IsMapped(host)) {
    inet_ntop(AF_INET, host.data() + kMapped.size(), text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, host.data(), text, sizeof(text));
  }
  return text;
}

}  // namespace penstock::broker
