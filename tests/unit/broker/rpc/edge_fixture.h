#ifndef PENSTOCK_TESTS_UNIT_BROKER_RPC_EDGE_FIXTURE_H_
#define PENSTOCK_TESTS_UNIT_BROKER_RPC_EDGE_FIXTURE_H_

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "broker/rpc/rpc_edge.h"
#include "broker/rpc/ticket_table.h"
#include "broker/storage/memory_store.h"
#include "common/clock.h"
#include "fmt/format.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/support/fake_door.h"

namespace penstock::broker {

class FixedFacts : public BrokerFacts {
 public:
  BrokerFigures Read() const override { return figures; }
  BrokerFigures figures;
};

// The gRPC edge on a free port of this machine, in front of a FakeDoor.
class EdgeFixture : public ::testing::Test {
 protected:
  EdgeFixture() {
    RpcEdge::Options options;
    options.server.address = "127.0.0.1:0";
    options.limit_infos = {{"limits.payload", "1 MiB", "1 MiB", "Largest payload."}};
    options.version = "1.2.3";
    auto edge = RpcEdge::Start(std::move(options), door, tickets, facts, clock);
    EXPECT_TRUE(edge.ok()) << edge.status();
    edge_ = *std::move(edge);
    channel = grpc::CreateChannel(fmt::format("127.0.0.1:{}", edge_->port()), grpc::InsecureChannelCredentials());
    door.SetStore(&store);
  }
  ~EdgeFixture() override {
    if (caller_.joinable()) caller_.join();
    edge_->Stop(absl::ZeroDuration());
  }

  // Makes a call that blocks while the test answers it.
  template <class Function>
  void InBackground(Function call) {
    caller_ = std::thread(std::move(call));
  }
  void Join() { caller_.join(); }

  TicketTable tickets;
  FakeDoor door{tickets};
  MemoryStore store;
  FixedFacts facts;
  ManualClock clock;
  std::unique_ptr<RpcEdge> edge_;
  std::shared_ptr<grpc::Channel> channel;

 private:
  std::thread caller_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_TESTS_UNIT_BROKER_RPC_EDGE_FIXTURE_H_
