#ifndef PENSTOCK_BROKER_RPC_TLS_FILES_H_
#define PENSTOCK_BROKER_RPC_TLS_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace penstock::broker {

// Files in PEM; read again when they change (replace the whole folder at once, by a symbolic link, so that key and
// certificate fit).
struct TlsOptions {
  std::string certificate_file;
  std::string key_file;
  // Clients must show a certificate signed by one of these. Empty: clients show none.
  std::string client_ca_file;
  absl::Duration refresh_interval = absl::Seconds(10);
};

// InvalidArgument names the file that is missing, cannot be read or is no PEM, or says that key and certificate do not
// fit. gRPC itself would start with them, and fail every call.
absl::Status CheckTlsFiles(const TlsOptions& options);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TLS_FILES_H_
