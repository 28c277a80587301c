#include "broker/test_broker.h"

#include <cstdlib>
#include <utility>

#include "broker/server.h"
#include "broker/storage/memory_store.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/mutex.h"
#include "common/status.h"
#include "common/text.h"

namespace penstock {

namespace {

// The machine's time, or that of its start, moved by as much as was asked for.
class MovedClock : public Clock {
 public:
  explicit MovedClock(bool runs) : runs_(runs), start_(SystemClock().Read()) {}
  Now Read() const override {
    const Now from = runs_ ? SystemClock().Read() : start_;
    MutexLock lock(mu_);
    return {from.wall + moved_, from.elapsed + moved_};
  }
  void Advance(absl::Duration by) {
    MutexLock lock(mu_);
    moved_ += by;
  }

 private:
  const bool runs_;
  const Now start_;
  mutable Mutex mu_;
  absl::Duration moved_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

struct TestBroker::Parts {
  explicit Parts(bool time_runs) : clock(time_runs) {}

  MovedClock clock;
  broker::BrokerOptions options;
  std::unique_ptr<broker::MemoryStore> store = std::make_unique<broker::MemoryStore>();
  std::unique_ptr<broker::Server> server;  // null: stopped

  absl::Status Start() {
    ASSIGN_OR_RETURN(server, broker::Server::StartOn(options, *store, clock));
    options.grpc.address = "127.0.0.1:" + std::to_string(server->grpc_port());
    return absl::OkStatus();
  }
};

absl::StatusOr<std::unique_ptr<TestBroker>> TestBroker::Start(const TestBrokerOptions& options) {
  auto parts = std::make_unique<Parts>(options.time_runs);
  parts->options.grpc.address = "127.0.0.1:0";
  parts->options.http.address = "";
  parts->options.sessions.grace = options.session_grace;
  RETURN_IF_ERROR(parts->Start());
  return std::unique_ptr<TestBroker>(new TestBroker(std::move(parts)));
}

TestBroker::TestBroker(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

TestBroker::~TestBroker() = default;

std::string TestBroker::address() const { return parts_->options.grpc.address; }

absl::Time TestBroker::now() const { return parts_->clock.Read().wall; }

void TestBroker::Advance(absl::Duration by) {
  parts_->clock.Advance(by);
  if (parts_->server != nullptr) parts_->server->LookAtClock();
}

void TestBroker::Stop() {
  if (parts_->server == nullptr) return;
  parts_->server->Stop();
  parts_->server.reset();
  parts_->store = parts_->store->Reopen();
}

void TestBroker::Resume() {
  if (parts_->server != nullptr) return;
  if (const absl::Status status = parts_->Start(); !status.ok()) {
    LogFor("test").critical("the broker cannot start again error=\"{}\"", ToStd(status.message()));
    std::abort();
  }
}

void TestBroker::Restart() {
  Stop();
  Resume();
}

}  // namespace penstock
