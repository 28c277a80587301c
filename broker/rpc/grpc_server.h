#ifndef PENSTOCK_BROKER_RPC_GRPC_SERVER_H_
#define PENSTOCK_BROKER_RPC_GRPC_SERVER_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/rpc/call_counts.h"
#include "broker/rpc/listener.h"
#include "broker/rpc/tls_files.h"

namespace grpc {
class Server;
class Service;
namespace experimental {
class ExternalConnectionAcceptor;
}
}  // namespace grpc

namespace penstock::broker {

struct GrpcServerOptions {
  // host:port; port 0: any free one.
  std::string address = "127.0.0.1:7420";
  // Absent: plain text. The caller sees to it that this is on loopback or explicitly allowed.
  std::optional<TlsOptions> tls = std::nullopt;
  // Lets tools ask which services there are.
  bool reflection = false;
  size_t receive_message_bytes_max = 4 << 20;
  size_t metadata_bytes_max = 16 << 10;
  // What gRPC may hold for buffers of calls before it reads no more from connections.
  size_t buffer_bytes_max = 256 << 20;
  int streams_per_connection_max = 1'000;
  // Connections at a time, in all and from one address; what comes beyond them is closed at once.
  size_t connections_max = 10'000;
  size_t connections_per_address_max = 2'000;
  // From a connection's begin until it speaks TLS, if that is on, and HTTP/2; then it is closed.
  absl::Duration handshake_time_max = absl::Seconds(10);
  // A connection without a call for so long is closed; clients connect again when they need it.
  absl::Duration idle_time_max = absl::Minutes(5);
};

// The listening gRPC server: any services, grpc.health.v1, and reflection if wanted. Owned by RpcEdge. Start and Stop
// come from one thread.
class GrpcServer {
 public:
  // The services outlive the server. InvalidArgument: the address or the TLS files are no good. Unavailable: the
  // address cannot be listened on, and why.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                           const std::vector<grpc::Service*>& services,
                                                           std::vector<std::string> service_names);
  ~GrpcServer();

  int port() const;
  // Whether the server answers on its own port: connects as a client on this machine would, with TLS where it has TLS,
  // and asks for its health. OK: it answered, also if it said NOT_SERVING. FailedPrecondition: it cannot, since the
  // files of its certificate are of no use any more, at which a restart would not help. Any other: it did not within
  // `time`. From one thread, which has SIGPIPE blocked or ignored; not after Stop.
  absl::Status Probe(absl::Duration time) const;
  // Any thread.
  ListenerFigures connections() const;
  // What grpc.health.v1 says for every service and for "".
  void SetServing(bool serving);
  // Only for this service.
  void SetServing(const std::string& service, bool serving);
  // Takes no more calls; waits until those under way have ended, after `grace` by cancelling them. Safe twice.
  void Stop(absl::Duration grace);

 private:
  using Acceptor = std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>;

  GrpcServer(std::optional<TlsOptions> tls, std::unique_ptr<grpc::Server> server, std::unique_ptr<GrpcCallCounts> calls,
             std::unique_ptr<Listener> listener, Acceptor acceptor, Acceptor own_acceptor,
             std::vector<std::string> service_names);

  const std::optional<TlsOptions> tls_;
  const std::unique_ptr<grpc::Server> server_;
  const std::unique_ptr<GrpcCallCounts> calls_;
  const std::unique_ptr<Listener> listener_;
  const Acceptor acceptor_;
  const Acceptor own_acceptor_;  // of this process's own connections, which show no certificate; null: as all others
  const std::vector<std::string> service_names_;
  bool stopped_ = false;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_GRPC_SERVER_H_
