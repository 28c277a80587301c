#include "broker/http/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/http/broker_metrics.h"
#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"

namespace penstock::broker {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class SetHealth : public HealthSource {
 public:
  Health GetHealth() const override {
    MutexLock lock(mu_);
    return health_;
  }
  void Set(Health health) {
    MutexLock lock(mu_);
    health_ = std::move(health);
  }

 private:
  mutable Mutex mu_;
  Health health_ ABSL_GUARDED_BY(mu_);
};

// A connection that says only what a test lets it say.
class RawConnection {
 public:
  explicit RawConnection(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawConnection() { close(fd_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  void Send(std::string_view text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Everything until the server closes the connection.
  std::string ReadToEnd() {
    std::string all;
    char buffer[4'096];
    ssize_t got = 0;
    while ((got = recv(fd_, buffer, sizeof(buffer), 0)) > 0) all.append(buffer, static_cast<size_t>(got));
    return all;
  }

 private:
  const int fd_;
};

class HttpServerTest : public testing::Test {
 protected:
  void StartServer(HttpOptions options = {}) {
    options.address = "127.0.0.1:0";
    server_ = std::make_unique<HttpServer>(options, health_,
                                           std::vector<std::weak_ptr<prometheus::Collectable>>{metrics_, gone_});
    const absl::Status status = server_->Start();
    ASSERT_TRUE(status.ok()) << status;
  }
  std::pair<int, std::string> Get(const std::string& path) {
    httplib::Client client("127.0.0.1", server_->port());
    const httplib::Result result = client.Get(path);
    return result ? std::pair(result->status, result->body) : std::pair(0, httplib::to_string(result.error()));
  }

  SetHealth health_;
  std::shared_ptr<prometheus::Collectable> metrics_ = std::make_shared<BrokerMetrics>([] {
    MetricsSnapshot snapshot;
    snapshot.version = "9.9.9";
    return snapshot;
  });
  std::weak_ptr<prometheus::Collectable> gone_ = std::make_shared<BrokerMetrics>([] { return MetricsSnapshot(); });
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, MetricsAreServedAsPrometheusText) {
  StartServer();
  httplib::Client client("127.0.0.1", server_->port());
  const httplib::Result result = client.Get("/metrics");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 200);
  EXPECT_EQ(result->get_header_value("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(result->body, HasSubstr("penstock_build_info{version=\"9.9.9\"} 1\n"));
}

TEST_F(HttpServerTest, ProbesFollowHealthAndSayWhy) {
  StartServer();
  EXPECT_EQ(Get("/healthz"), std::pair(200, std::string("live\n")));
  EXPECT_EQ(Get("/readyz"), std::pair(200, std::string("ready\n")));
  health_.Set({.live = true, .ready = false, .reason = "the disk is full"});
  EXPECT_EQ(Get("/healthz").first, 200);
  EXPECT_EQ(Get("/readyz"), std::pair(503, std::string("not ready: the disk is full\n")));
  health_.Set({.live = false, .ready = true, .reason = "the engine is stuck"});
  EXPECT_EQ(Get("/healthz"), std::pair(503, std::string("not live: the engine is stuck\n")));
  EXPECT_EQ(Get("/readyz").first, 503);
}

TEST_F(HttpServerTest, RootNamesThePathsAndOthersAreNotFound) {
  StartServer();
  EXPECT_THAT(Get("/").second, AllOf(StartsWith("penstock-broker "), HasSubstr("/metrics /healthz /readyz\n")));
  EXPECT_EQ(Get("/nothing"), std::pair(404, std::string("404\n")));
}

TEST_F(HttpServerTest, OneConnectionCarriesManyRequestsUpToItsLimit) {
  StartServer({.requests_max = 3});
  RawConnection connection(server_->port());
  const std::string request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  connection.Send(request + request + request + request);
  const std::string answers = connection.ReadToEnd();
  size_t count = 0;
  for (size_t at = answers.find("live\n"); at != std::string::npos; at = answers.find("live\n", at + 1)) ++count;
  EXPECT_EQ(count, 3u);
}

TEST_F(HttpServerTest, BodyBeyondTheLimitIsRefused) {
  StartServer({.body_max = 100});
  httplib::Client client("127.0.0.1", server_->port());
  const httplib::Result result = client.Post("/metrics", std::string(1'000, 'x'), "text/plain");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 413);
}

TEST_F(HttpServerTest, SilentAndDribblingClientsLoseTheirThreads) {
  StartServer({.threads = 1, .waiting_max = 1, .request_time = absl::Milliseconds(50)});
  RawConnection silent(server_->port());
  RawConnection dribbling(server_->port());
  dribbling.Send("GET /healthz HTTP/1.1\r\nX-");
  RawConnection another(server_->port());
  EXPECT_EQ(silent.ReadToEnd(), "");
  // The only thread is free again once the others' time is over.
  dribbling.ReadToEnd();
  another.ReadToEnd();
  EXPECT_EQ(Get("/healthz").first, 200);
}

TEST_F(HttpServerTest, StopEndsOpenConnectionsAndIsSafeTwice) {
  StartServer({.threads = 1, .waiting_max = 1, .request_time = absl::Hours(1), .idle_time = absl::Hours(1)});
  RawConnection idle(server_->port());
  RawConnection waiting(server_->port());
  RawConnection unaccepted(server_->port());
  server_->Stop();
  server_->Stop();
  EXPECT_EQ(idle.ReadToEnd(), "");
  EXPECT_EQ(waiting.ReadToEnd(), "");
}

TEST_F(HttpServerTest, StopWithoutStartIsHarmless) {
  HttpServer server({.address = "127.0.0.1:0"}, health_, {});
  server.Stop();
}

TEST_F(HttpServerTest, TakenPortAndBadAddressAreNamed) {
  StartServer();
  const std::string taken = "127.0.0.1:" + std::to_string(server_->port());
  HttpServer second({.address = taken}, health_, {});
  const absl::Status status = second.Start();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(taken), HasSubstr("Address already in use")));
  HttpServer third({.address = "nonsense"}, health_, {});
  EXPECT_EQ(third.Start().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(HttpServerTest, ManyClientsAreAnsweredByFewThreads) {
  StartServer({.threads = 2, .waiting_max = 2});
  std::vector<std::thread> threads;
  std::vector<int> answered(8);
  for (int& count : answered) {
    threads.emplace_back([this, &count] {
      for (int i = 0; i < 20; ++i) count += Get("/metrics").first == 200 ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(answered, testing::Each(20));
}

}  // namespace
}  // namespace penstock::broker
