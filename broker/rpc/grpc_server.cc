#include "broker/rpc/grpc_server.h"

#include <chrono>
#include <utility>

#include "broker/rpc/probe.h"
#include "common/logging.h"
#include "common/status.h"
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

// A client that lets calls end holds no more than those that may be open, and as many that have just ended. One more
// than that for a client that gives up all that it has open at once, and begins anew.
constexpr uint64_t kCallsMax = 3;
constexpr int kReadBytesMax = 64 << 10;

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

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const std::optional<TlsOptions>& tls) {
  if (!tls) return grpc::InsecureServerCredentials();
  RETURN_IF_ERROR(CheckTlsFiles(*tls));
  const auto refresh = static_cast<unsigned>(std::max<int64_t>(absl::ToInt64Seconds(tls->refresh_interval), 1));
  namespace experimental = grpc::experimental;
  const bool mutual = !tls->client_ca_file.empty();
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

void SetArguments(const GrpcServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.receive_message_bytes_max));
  builder->SetMaxSendMessageSize(-1);
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
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              static_cast<int>(absl::ToInt64Milliseconds(options.handshake_time_max)));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                              static_cast<int>(absl::ToInt64Milliseconds(options.idle_time_max)));
  // ConnectionGuard looks at gRPC's own counters.
  builder->AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 1);
  // What gRPC has read at once it works through, whatever happens to the connection: megabytes of calls that are reset
  // would become hundreds of megabytes of memory.
  builder->AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadBytesMax);
  // No maximal connection age: a worker's stream lives as long as its worker.
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                              const std::vector<grpc::Service*>& services,
                                                              std::vector<std::string> service_names) {
  gpr_set_log_function(LogForGrpc);
  grpc::EnableDefaultHealthCheckService(true);
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, MakeCredentials(options.tls));
  ListenerOptions listening;
  listening.address = options.address;
  listening.connections_max = options.connections_max;
  listening.connections_per_address_max = options.connections_per_address_max;
  auto calls = std::make_unique<GrpcCallCounts>();
  listening.calls = calls.get();
  listening.calls_max = kCallsMax * static_cast<uint64_t>(options.streams_per_connection_max);
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Listener::Open(listening));
  // Names the plug-in's library, so that the linker keeps it.
  if (options.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  if (!options.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  constexpr auto kFromFd = grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD;
  Acceptor acceptor = builder.experimental().AddExternalConnectionAcceptor(kFromFd, credentials);
  Acceptor own_acceptor;
  if (options.tls && !options.tls->client_ca_file.empty()) {
    // The broker has no certificate that its own clients' authority signed.
    TlsOptions own = *options.tls;
    own.client_ca_file.clear();
    ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> own_credentials, MakeCredentials(own));
    own_acceptor = builder.experimental().AddExternalConnectionAcceptor(kFromFd, own_credentials);
  }
  SetArguments(options, &builder);
  grpc::ResourceQuota quota("broker");
  quota.Resize(options.buffer_bytes_max);
  builder.SetResourceQuota(quota);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return absl::InternalError("gRPC cannot start its server");
  return std::unique_ptr<GrpcServer>(new GrpcServer(options.tls, std::move(server), std::move(calls),
                                                    std::move(listener), std::move(acceptor), std::move(own_acceptor),
                                                    std::move(service_names)));
}

GrpcServer::GrpcServer(std::optional<TlsOptions> tls, std::unique_ptr<grpc::Server> server,
                       std::unique_ptr<GrpcCallCounts> calls, std::unique_ptr<Listener> listener, Acceptor acceptor,
                       Acceptor own_acceptor, std::vector<std::string> service_names)
    : tls_(std::move(tls)),
      server_(std::move(server)),
      calls_(std::move(calls)),
      listener_(std::move(listener)),
      acceptor_(std::move(acceptor)),
      own_acceptor_(std::move(own_acceptor)),
      service_names_(std::move(service_names)) {
  SetServing(true);
  listener_->Start([this](int fd, bool own) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = fd;
    (own && own_acceptor_ != nullptr ? own_acceptor_ : acceptor_)->HandleNewConnection(&connection);
  });
}

GrpcServer::~GrpcServer() { Stop(absl::ZeroDuration()); }

int GrpcServer::port() const { return listener_->port(); }

absl::Status GrpcServer::Probe(absl::Duration time) const {
  const absl::Status answered = ProbeListener(*listener_, tls_.has_value(), time);
  if (answered.ok() || absl::IsFailedPrecondition(answered) || !tls_) return answered;
  const absl::Status files = CheckTlsFiles(*tls_);
  return files.ok() ? answered : absl::FailedPreconditionError(files.message());
}

ListenerFigures GrpcServer::connections() const { return listener_->figures(); }

void GrpcServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
  for (const std::string& name : service_names_) SetServing(name, serving);
}

void GrpcServer::SetServing(const std::string& service, bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(service, serving);
}

void GrpcServer::Stop(absl::Duration grace) {
  if (std::exchange(stopped_, true)) return;
  SetServing(false);
  listener_->Stop();
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(grace));
  server_->Wait();
}

}  // namespace penstock::broker
