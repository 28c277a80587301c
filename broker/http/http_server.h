#ifndef PENSTOCK_BROKER_HTTP_HTTP_SERVER_H_
#define PENSTOCK_BROKER_HTTP_HTTP_SERVER_H_

// The broker's HTTP port, for scrapers and probes:
//   /metrics  Prometheus text
//   /healthz  200 while the process does its work (liveness), else 503 and why
//   /readyz   200 while enqueues are accepted (readiness), else 503 and why
//   /         one line: the version and these paths
//
// Owns one thread that accepts and a fixed pool that answers (TcpListener). A request has to arrive whole within its
// time, so that slow or silent clients hold a thread for a bounded time.
//
// No TLS and no login: for loopback and trusted networks (see insecure_allow_plaintext).

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace prometheus {
class Collectable;
}

namespace penstock::broker {

struct Health {
  bool live = true;    // false: only a restart helps
  bool ready = true;   // false: enqueues are refused
  std::string reason;  // why not, for people
};

// Asked by the server's threads; must not block.
class HealthSource {
 public:
  virtual ~HealthSource() = default;
  virtual Health GetHealth() const = 0;
};

struct HttpOptions {
  std::string address = "127.0.0.1:7421";  // port 0: any that is free
  size_t threads = 4;
  size_t waiting_max = 64;                           // connections accepted that wait for a thread
  size_t body_max = 64 << 10;                        // bytes of a request's body
  size_t requests_max = 100;                         // on one connection
  absl::Duration request_time = absl::Seconds(5);    // for a whole request to arrive
  absl::Duration response_time = absl::Seconds(10);  // for a whole response to be taken
  absl::Duration idle_time = absl::Seconds(1);       // between requests of a connection
};

class HttpServer {
 public:
  // `health` must outlive the server. Collectables that have gone are skipped.
  HttpServer(HttpOptions options, const HealthSource& health,
             std::vector<std::weak_ptr<prometheus::Collectable>> collectables);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Listens from then on. InvalidArgument for an address that is none, Unavailable if it is taken. Once at most.
  absl::Status Start();
  // The port it listens on. REQUIRES: started.
  int port() const;
  // Ends all connections and threads. Safe twice and without Start.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_HTTP_HTTP_SERVER_H_
