#ifndef PENSTOCK_TESTS_SUPPORT_TEST_BROKER_H_
#define PENSTOCK_TESTS_SUPPORT_TEST_BROKER_H_

#include <memory>
#include <string>

#include "broker/server.h"
#include "broker/storage/memory_store.h"
#include "common/clock.h"
#include "gtest/gtest.h"

namespace penstock::testing {

// The real broker in this process, on a store in memory, on a port of its own. Restart keeps the data and the port.
class TestBroker {
 public:
  explicit TestBroker(Clock& clock = SystemClock()) : clock_(clock) {
    options_.grpc.address = "127.0.0.1:0";
    options_.http.address = "";
    store_ = std::make_unique<broker::MemoryStore>();
    Start();
    options_.grpc.address = address();
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(server_->grpc_port()); }
  broker::BrokerOptions& options() { return options_; }
  void Stop() {
    port_ = server_->grpc_port();
    server_->Stop();
    server_.reset();
  }
  void Start() {
    auto server = broker::Server::StartOn(options_, *store_, clock_);
    if (!server.ok()) {
      ADD_FAILURE() << server.status();
      std::abort();
    }
    server_ = *std::move(server);
  }
  // Everything that was acknowledged is still there afterwards.
  void Restart() {
    Stop();
    store_ = store_->Reopen();
    Start();
  }

 private:
  Clock& clock_;
  broker::BrokerOptions options_;
  std::unique_ptr<broker::MemoryStore> store_;
  std::unique_ptr<broker::Server> server_;
  int port_ = 0;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_SUPPORT_TEST_BROKER_H_
