#ifndef PENSTOCK_BROKER_RPC_TIMED_WIRE_H_
#define PENSTOCK_BROKER_RPC_TIMED_WIRE_H_

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/rpc/peer.h"

struct ssl_st;

namespace penstock::broker {

// A TCP connection to a server of this machine, with or without TLS, all of which has to be over within one time. One
// thread, which should have SIGPIPE blocked or ignored (OpenSSL writes without asking).
//
// DeadlineExceeded: the time is over. Unavailable: the other side closed or refused the connection, or this process
// could not make one.
class TimedWire {
 public:
  explicit TimedWire(absl::Duration time);
  ~TimedWire();
  TimedWire(const TimedWire&) = delete;
  TimedWire& operator=(const TimedWire&) = delete;

  // Takes a port of its own for a connection to `server`, from that very address, and tells it.
  absl::StatusOr<Peer> Bind(const sockaddr_storage& server);
  absl::Status Connect(const sockaddr_storage& server);
  // Whose certificate it is does not matter here: whether others trust it is theirs to find out.
  absl::Status StartTls();
  absl::Status Send(std::string_view bytes);
  // Some bytes, at least one.
  absl::StatusOr<std::string> Receive();

 private:
  // Waits for these events of poll().
  absl::Status Await(short events);
  // Waits for what OpenSSL needs after a call that gave `result`.
  absl::Status AwaitTls(int result);

  const absl::Duration deadline_;
  const absl::Duration time_;
  int fd_ = -1;
  ssl_st* tls_ = nullptr;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TIMED_WIRE_H_
