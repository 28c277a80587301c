#ifndef PENSTOCK_CLIENT_CLIENT_OPTIONS_H_
#define PENSTOCK_CLIENT_CLIENT_OPTIONS_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace penstock {

// What a call does while the broker cannot be reached.
enum class WhenUnavailable {
  kWait,      // wait for it, until the call's deadline
  kFailFast,  // fail at once with Unavailable
};

struct ClientOptions {
  // host:port of the broker.
  std::string broker = "127.0.0.1:7420";
  // How long a call may take, unless it says otherwise. From 1 ms to 24 h. An enqueue that ran out of time may still
  // have been stored. An enqueue that reached the broker, or may have, and got no answer is repeated for 9 minutes
  // only, however long its timeout: then the broker is about to forget its request id and would store it twice. It ends
  // with DeadlineExceeded, its outcome unknown.
  absl::Duration timeout = absl::Seconds(30);
  WhenUnavailable when_unavailable = WhenUnavailable::kWait;
  // Bytes of tasks that may be on their way; further enqueues wait for room, EnqueueAsync too, but for those made by a
  // callback. From 1 MiB to 1 GiB. More helps only on slow networks.
  size_t in_flight_bytes = 16 << 20;
  // Pause before connecting again: drawn from 0 to a bound that doubles from the first to the second value. The same
  // pause is added to the time after which a busy broker asked to come again. Such repetitions are one for ten calls,
  // and one a second beside that; whatever has to wait for its turn waits, until its deadline.
  absl::Duration reconnect_min = absl::Milliseconds(50);
  absl::Duration reconnect_max = absl::Seconds(5);
  // PEM files. ca_file empty: plain text. With ca_file the broker's certificate is checked; cert_file and key_file,
  // both or neither, show one of ours.
  std::string ca_file;
  std::string cert_file;
  std::string key_file;

  // InvalidArgument names the first field that is wrong.
  absl::Status Validate() const;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_CLIENT_OPTIONS_H_
