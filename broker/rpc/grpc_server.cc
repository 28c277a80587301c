#include "broker/rpc/grpc_server.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "fmt/format.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace penstock::broker {
namespace {

// Libgrpc++_reflection adds its plug-in to every server of the process when it is loaded; this takes it out again.
class WithoutReflection : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments* arguments) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [](const auto& plugin) { return plugin->name() == "proto_server_reflection"; });
  }
};

// gRPC reports what it cannot return (a connection that failed its handshake, for instance) through a function of its
// own.
void LogForGrpc(gpr_log_func_args* args) {
  spdlog::logger& logger = LogFor("grpc");
  switch (args->severity) {
    case GPR_LOG_SEVERITY_DEBUG:
      logger.debug("{}", args->message);
      break;
    case GPR_LOG_SEVERITY_INFO:
      logger.info("{}", args->message);
      break;
    case GPR_LOG_SEVERITY_ERROR:
      // Mostly about peers, not about us; the calls that fail say so themselves.
      logger.warn("{}", args->message);
      break;
  }
}

absl::Status CheckReadable(std::string_view what, const std::string& file) {
  if (access(file.c_str(), R_OK) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("cannot read {} {}: {}", what, file, std::generic_category().message(errno)));
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const std::optional<TlsOptions>& tls) {
  if (!tls) return grpc::InsecureServerCredentials();
  RETURN_IF_ERROR(CheckReadable("the TLS certificate", tls->certificate_file));
  RETURN_IF_ERROR(CheckReadable("the TLS key", tls->key_file));
  const auto refresh = static_cast<unsigned>(std::max<int64_t>(absl::ToInt64Seconds(tls->refresh_interval), 1));
  namespace experimental = grpc::experimental;
  const bool mutual = !tls->client_ca_file.empty();
  if (mutual) RETURN_IF_ERROR(CheckReadable("the TLS client CA", tls->client_ca_file));
  auto provider = std::make_shared<experimental::FileWatcherCertificateProvider>(tls->key_file, tls->certificate_file,
                                                                                 tls->client_ca_file, refresh);
  experimental::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (mutual) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return experimental::TlsServerCredentials(options);
}

// gRPC says only that it cannot listen; trying it ourselves tells why.
absl::Status WhyNotListening(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(fmt::format("'{}' is no address; write for instance 127.0.0.1:7420", address));
  }
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(fmt::format("cannot listen on {}: {}", address, gai_strerror(error)));
  }
  std::string reason = "gRPC gives no reason";
  const int fd = socket(found->ai_family, found->ai_socktype, 0);
  const int yes = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) {
    reason = std::generic_category().message(errno);
  }
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return absl::UnavailableError(
      fmt::format("cannot listen on {}: {}. Stop what listens there, or choose another address", address, reason));
}

void SetArguments(const GrpcServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.receive_message_bytes_max));
  builder->SetMaxSendMessageSize(-1);
  // Without this a second broker could listen on the same port.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(options.metadata_bytes_max));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.streams_per_connection_max);
  // Our clients ping every 10 s to notice a dead connection; twice as often is still no flood.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 3);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // A peer whose machine is gone is noticed in half a minute.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
  // No maximal connection age: a worker's stream lives as long as its worker.
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                              const std::vector<grpc::Service*>& services,
                                                              std::vector<std::string> service_names) {
  gpr_set_log_function(LogForGrpc);
  grpc::EnableDefaultHealthCheckService(true);
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, MakeCredentials(options.tls));
  // Names the plug-in's library, so that the linker keeps it.
  if (options.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  if (!options.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  int port = 0;
  builder.AddListeningPort(options.address, credentials, &port);
  SetArguments(options, &builder);
  grpc::ResourceQuota quota("broker");
  quota.Resize(options.buffer_bytes_max);
  builder.SetResourceQuota(quota);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return WhyNotListening(options.address);
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(server), port, std::move(service_names)));
}

GrpcServer::GrpcServer(std::unique_ptr<grpc::Server> server, int port, std::vector<std::string> service_names)
    : server_(std::move(server)), port_(port), service_names_(std::move(service_names)) {
  SetServing(true);
}

GrpcServer::~GrpcServer() { Stop(absl::ZeroDuration()); }

void GrpcServer::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  health->SetServingStatus(serving);
  for (const std::string& name : service_names_) health->SetServingStatus(name, serving);
}

void GrpcServer::Stop(absl::Duration grace) {
  if (std::exchange(stopped_, true)) return;
  SetServing(false);
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(grace));
  server_->Wait();
}

}  // namespace penstock::broker
