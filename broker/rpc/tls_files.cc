#include "broker/rpc/tls_files.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>
#include <system_error>

#include "common/status.h"
#include "fmt/format.h"

namespace penstock::broker {
namespace {

absl::Status CheckReadable(std::string_view what, const std::string& file) {
  if (access(file.c_str(), R_OK) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("cannot read {} {}: {}", what, file, std::generic_category().message(errno)));
}

absl::Status Refusal(std::string_view what, const std::string& file) {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error != 0 ? ERR_reason_error_string(error) : nullptr;
  return absl::InvalidArgumentError(
      fmt::format("{} {} cannot be used: {}", what, file, reason != nullptr ? reason : "it is not valid PEM"));
}

}  // namespace

absl::Status CheckTlsFiles(const TlsOptions& options) {
  RETURN_IF_ERROR(CheckReadable("the TLS certificate", options.certificate_file));
  RETURN_IF_ERROR(CheckReadable("the TLS key", options.key_file));
  if (!options.client_ca_file.empty()) RETURN_IF_ERROR(CheckReadable("the TLS client CA", options.client_ca_file));
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.certificate_file.c_str()) != 1) {
    return Refusal("the TLS certificate", options.certificate_file);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), options.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return Refusal("the TLS key", options.key_file);
  }
  if (!options.client_ca_file.empty() &&
      SSL_CTX_load_verify_locations(context.get(), options.client_ca_file.c_str(), nullptr) != 1) {
    return Refusal("the TLS client CA", options.client_ca_file);
  }
  return absl::OkStatus();
}

}  // namespace penstock::broker
