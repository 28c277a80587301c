#include "broker/rpc/probe.h"

#include <netinet/in.h>

#include "broker/rpc/health_call.h"
#include "broker/rpc/timed_wire.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

// Where a client on this machine finds what listens on `address`: a wildcard means all, the loopback among them.
sockaddr_storage Reachable(sockaddr_storage address) {
  if (address.ss_family == AF_INET) {
    in_addr& host = reinterpret_cast<sockaddr_in&>(address).sin_addr;
    if (host.s_addr == htonl(INADDR_ANY)) host.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
  if (!IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) return address;
  // Of both families; not every machine has an IPv6 loopback.
  sockaddr_storage loopback{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(loopback);
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  v4.sin_port = v6.sin6_port;
  return loopback;
}

absl::Status Probe(Listener& listener, const sockaddr_storage& address, bool tls, absl::Duration time) {
  TimedWire wire(time);
  ASSIGN_OR_RETURN(const Peer own, wire.Bind(address));
  listener.ExpectOwn(own);
  const absl::Status answered = [&]() -> absl::Status {
    RETURN_IF_ERROR(wire.Connect(address));
    if (tls) RETURN_IF_ERROR(wire.StartTls());
    return CallHealth(wire);
  }();
  listener.ForgetOwn(own);
  return answered;
}

}  // namespace

absl::Status ProbeListener(Listener& listener, bool tls, absl::Duration time) {
  for (const sockaddr_storage& listening : listener.addresses()) {
    const sockaddr_storage address = Reachable(listening);
    const absl::Status answered = Probe(listener, address, tls, time);
    if (!answered.ok()) {
      const Peer server = Peer::From(address);
      return Annotate(answered, fmt::format("{} port {}", server.HostText(), server.port));
    }
  }
  return absl::OkStatus();
}

}  // namespace penstock::broker
