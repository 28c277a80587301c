#include "client/client_options.h"

#include "common/status_details.h"

namespace penstock {

absl::Status ClientOptions::Validate() const {
  if (broker.find(':') == std::string::npos)
    return InvalidField("broker", "write host:port, for instance localhost:7420");
  if (timeout < absl::Milliseconds(1) || timeout > absl::Hours(24))
    return InvalidField("timeout", "must be 1 ms to 24 h");
  if (in_flight_bytes < (1 << 20) || in_flight_bytes > (1 << 30)) {
    return InvalidField("in_flight_bytes", "must be 1 MiB to 1 GiB");
  }
  if (reconnect_min < absl::Milliseconds(1) || reconnect_max < reconnect_min) {
    return InvalidField("reconnect_max", "must be at least reconnect_min, which must be at least 1 ms");
  }
  if (cert_file.empty() != key_file.empty()) return InvalidField("cert_file", "set cert_file and key_file, or neither");
  if (ca_file.empty() && !cert_file.empty()) return InvalidField("ca_file", "is needed with cert_file");
  return absl::OkStatus();
}

}  // namespace penstock
