#include "client/cli/connection.h"

#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "client/call_status.h"
#include "client/cli/exit_code.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace penstock::cli {
namespace {

absl::StatusOr<std::string> ReadPem(const std::string& option, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (!(content << file.rdbuf())) return absl::InvalidArgumentError(fmt::format("{}: cannot read {}", option, path));
  return content.str();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ClientOptions& options) {
  if (options.ca_file.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem("--tls-ca", options.ca_file));
  if (!options.cert_file.empty()) {
    ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem("--tls-cert", options.cert_file));
    ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem("--tls-key", options.key_file));
  }
  return grpc::SslCredentials(ssl);
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// The broker's limit if gRPC's message says that the broker, not this side, received more than it takes; otherwise 0.
uint64_t MessageLimit(const std::string& message, size_t request_bytes) {
  const size_t at = message.find("eceived message larger than max (");
  if (at == std::string::npos) return 0;
  unsigned long long bytes = 0;
  unsigned long long limit = 0;
  if (std::sscanf(message.c_str() + message.find('(', at), "(%llu vs. %llu)", &bytes, &limit) != 2) return 0;
  return bytes == request_bytes ? limit : 0;
}

}  // namespace

std::string WhyNotConnected(const std::string& message) {
  if (Contains(message, "DNS resolution failed")) return "no such host; check --endpoint";
  if (Contains(message, "andshake")) {
    return "the TLS handshake failed; check --tls-ca, --tls-cert and --tls-key, and that the broker speaks TLS";
  }
  if (Contains(message, "http1.x")) return "it speaks HTTP, not gRPC; is that its HTTP port? gRPC has 7420";
  std::string cause = message.substr(message.rfind(": ") == std::string::npos ? 0 : message.rfind(": ") + 2);
  if (!cause.empty()) cause[0] = absl::ascii_tolower(static_cast<unsigned char>(cause[0]));
  return cause + "; is penstock-broker running there? Another address: --endpoint or PENSTOCK_ENDPOINT";
}

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitDenied;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitUnavailable;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return kExitPrecondition;
    default:
      return kExitFailed;
  }
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ClientOptions& options) {
  ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials, MakeCredentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  // A broker is reached directly, whatever http_proxy says.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  auto channel = grpc::CreateCustomChannel(options.broker, credentials, arguments);
  return std::unique_ptr<Connection>(new Connection(options, std::move(channel)));
}

Connection::Connection(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel)
    : options_(options),
      channel_(std::move(channel)),
      admin_(v1::AdminService::NewStub(channel_)),
      bulk_(v1::BulkService::NewStub(channel_)),
      schedules_(v1::ScheduleService::NewStub(channel_)),
      throttles_(v1::ThrottleService::NewStub(channel_)),
      tasks_(v1::TaskService::NewStub(channel_)) {}

absl::Status Connection::Explain(const grpc::Status& status, size_t request_bytes, absl::Duration timeout) const {
  const absl::Status plain = CallStatus(status);
  const std::string message(plain.message());
  const auto with = [&](const std::string& text) { return absl::Status(plain.code(), text); };
  switch (plain.code()) {
    case absl::StatusCode::kUnavailable:
      if (channel_->GetState(false) != GRPC_CHANNEL_READY) {
        return with(fmt::format("cannot reach the broker at {}: {}", options_.broker, WhyNotConnected(message)));
      }
      return with(fmt::format("the broker at {} is not available: {}; try again", options_.broker, message));
    case absl::StatusCode::kDeadlineExceeded:
      if (channel_->GetState(false) != GRPC_CHANNEL_READY) {
        return with(fmt::format("cannot reach the broker at {} within {}; check --endpoint, or raise --timeout",
                                options_.broker, penstock::FormatDuration(timeout)));
      }
      return with(
          fmt::format("the broker at {} did not answer within {}; what it was asked may still happen; raise --timeout",
                      options_.broker, penstock::FormatDuration(timeout)));
    case absl::StatusCode::kUnimplemented:
      return with(fmt::format("{} does not offer this; is it a Penstock broker of this version? ({})", options_.broker,
                              message));
    case absl::StatusCode::kResourceExhausted:
      if (const std::string limit = LimitOf(plain); !limit.empty()) {
        return with(fmt::format("{} (limit {}; see penstock limits)", message, limit));
      }
      // gRPC refuses it before the broker sees it. What is too large was in the arguments.
      if (const uint64_t limit = MessageLimit(message, request_bytes); limit > 0) {
        return absl::InvalidArgumentError(
            fmt::format("the request has {}, more than the broker takes in one message: {} (limit limits.message; see "
                        "penstock limits)",
                        FormatSize(request_bytes), FormatSize(limit)));
      }
      return plain;
    default:
      return plain;
  }
}

}  // namespace penstock::cli
