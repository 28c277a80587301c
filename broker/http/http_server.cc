#include "broker/http/http_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

#include "broker/http/tcp_listener.h"
#include "broker/listen_address.h"
#include "common/clock.h"
#include "common/status.h"
#include "common/version.h"
#include "fmt/format.h"
#include "httplib.h"
#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"

namespace penstock::broker {
namespace {

constexpr char kText[] = "text/plain; charset=utf-8";

absl::Duration Elapsed() { return SystemClock().Read().elapsed; }

// A connection whose reads and writes end at a deadline. cpp-httplib's own streams limit each read alone, so a client
// that sends a byte now and then holds a thread for hours; and they use select(), which cannot wait for descriptors
// above 1,023.
class TimedStream : public httplib::Stream {
 public:
  TimedStream(int fd, absl::Duration response_time) : fd_(fd), response_time_(response_time) {}

  // Waits for the next request, then gives it its time.
  bool AwaitRequest(absl::Duration idle_time, absl::Duration request_time) {
    deadline_ = Elapsed() + idle_time;
    if (used_ == filled_ && !Wait(POLLIN)) return false;
    deadline_ = Elapsed() + request_time;
    writing_ = false;
    return true;
  }

  // Nothing more came in time: what was read is no whole request, and the connection is of no more use.
  bool broken() const { return broken_; }

  bool is_readable() const override { return used_ < filled_ || Wait(POLLIN); }
  bool is_writable() const override { return Wait(POLLOUT); }

  ssize_t read(char* to, size_t size) override {
    if (used_ == filled_) {
      const ssize_t got = Wait(POLLIN) ? recv(fd_, buffer_, sizeof(buffer_), 0) : -1;
      if (got <= 0) {
        broken_ = true;
        return got;
      }
      used_ = 0;
      filled_ = static_cast<size_t>(got);
    }
    const size_t taken = std::min(size, filled_ - used_);
    std::memcpy(to, buffer_ + used_, taken);
    used_ += taken;
    return static_cast<ssize_t>(taken);
  }

  ssize_t write(const char* from, size_t size) override {
    if (!std::exchange(writing_, true)) deadline_ = Elapsed() + response_time_;
    if (!Wait(POLLOUT)) return -1;
    return send(fd_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  // Nothing here asks who the client is.
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return fd_; }

 private:
  bool Wait(short event) const {
    while (true) {
      const int64_t left = absl::ToInt64Milliseconds(absl::Ceil(deadline_ - Elapsed(), absl::Milliseconds(1)));
      if (left <= 0) return false;
      pollfd poll_fd{fd_, event, 0};
      const int ready = poll(&poll_fd, 1, static_cast<int>(std::min<int64_t>(left, 60'000)));
      if (ready > 0) return (poll_fd.revents & event) != 0;
      if (ready < 0 && errno != EINTR) return false;
    }
  }

  const int fd_;
  const absl::Duration response_time_;
  absl::Duration deadline_;
  bool writing_ = false;
  bool broken_ = false;
  size_t used_ = 0;
  size_t filled_ = 0;
  char buffer_[4'096];
};

// cpp-httplib's parser and router, on our streams. SIGPIPE is ignored from the first one on.
class Router : public httplib::Server {
 public:
  // Answers the requests of one connection.
  void ServeConnection(int fd, const HttpOptions& options) {
    TimedStream stream(fd, options.response_time);
    for (size_t left = options.requests_max; left > 0; --left) {
      const bool first = left == options.requests_max;
      if (!stream.AwaitRequest(first ? options.request_time : options.idle_time, options.request_time)) return;
      bool closed = false;
      if (!process_request(stream, left == 1, closed, nullptr) || closed || stream.broken()) return;
    }
  }
};

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, const HealthSource& health,
       std::vector<std::weak_ptr<prometheus::Collectable>> collectables)
      : options_(std::move(options)),
        health_(health),
        collectables_(std::move(collectables)),
        listener_(options_.threads, options_.waiting_max, [this](int fd) { router_.ServeConnection(fd, options_); }) {
    SetLimits();
    AddRoutes();
  }

  absl::Status Start() {
    ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(options_.address));
    return Annotate(listener_.Start(address.host, address.port), "http.address");
  }

  int port() const { return listener_.port(); }

  void Stop() { listener_.Stop(); }

 private:
  void SetLimits() {
    router_.set_payload_max_length(options_.body_max);
    router_.set_keep_alive_max_count(options_.requests_max);
    router_.set_keep_alive_timeout(std::max<time_t>(1, absl::ToInt64Seconds(options_.idle_time)));
    router_.set_default_headers({{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}});
  }

  void AddRoutes() {
    router_.Get("/", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(fmt::format("penstock-broker {}: /metrics /healthz /readyz\n", kVersion), kText);
    });
    router_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(Metrics(), "text/plain; version=0.0.4; charset=utf-8");
    });
    router_.Get("/healthz", [this](const httplib::Request&, httplib::Response& response) {
      const Health health = health_.GetHealth();
      Answer(health.live, "live", health.reason, response);
    });
    router_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      const Health health = health_.GetHealth();
      Answer(health.live && health.ready, "ready", health.reason, response);
    });
    router_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty()) response.set_content(fmt::format("{}\n", response.status), kText);
    });
    router_.set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
      response.status = 500;
      response.set_content("500\n", kText);
    });
  }

  static void Answer(bool well, std::string_view word, std::string_view reason, httplib::Response& response) {
    response.status = well ? 200 : 503;
    response.set_content(well ? fmt::format("{}\n", word) : fmt::format("not {}: {}\n", word, reason), kText);
  }

  std::string Metrics() const {
    std::vector<prometheus::MetricFamily> families;
    for (const auto& weak : collectables_) {
      const std::shared_ptr<prometheus::Collectable> collectable = weak.lock();
      if (collectable == nullptr) continue;
      for (prometheus::MetricFamily& family : collectable->Collect()) families.push_back(std::move(family));
    }
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, families);
    return text.str();
  }

  // Constant after construction.
  const HttpOptions options_;
  const HealthSource& health_;
  const std::vector<std::weak_ptr<prometheus::Collectable>> collectables_;

  Router router_;
  TcpListener listener_;  // last: its threads use the rest
};

HttpServer::HttpServer(HttpOptions options, const HealthSource& health,
                       std::vector<std::weak_ptr<prometheus::Collectable>> collectables)
    : impl_(std::make_unique<Impl>(std::move(options), health, std::move(collectables))) {}

HttpServer::~HttpServer() { Stop(); }

absl::Status HttpServer::Start() { return impl_->Start(); }

int HttpServer::port() const { return impl_->port(); }

void HttpServer::Stop() { impl_->Stop(); }

}  // namespace penstock::broker
