#include "tests/overload/load.h"

#include <atomic>
#include <future>
#include <utility>

#include "absl/time/clock.h"
#include "common/status_grpc.h"
#include "grpcpp/grpcpp.h"

namespace penstock::overload {
namespace {

constexpr size_t kConnections = 8;  // a broker takes 1,000 calls on each
constexpr size_t kClients = 16;

class Unary : public Load {
 public:
  Unary(const std::string& address, Ledger& ledger, size_t payload_bytes, absl::Duration deadline)
      : ledger_(ledger), payload_bytes_(payload_bytes), deadline_(deadline) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    for (size_t i = 0; i < kConnections; ++i) {
      channels_.push_back(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
      stubs_.push_back(v1::TaskService::NewStub(channels_.back()));
    }
  }
  ~Unary() override { AwaitAnswers(); }

 protected:
  void Begin(std::function<void(const absl::Status&)> done) override {
    struct Call {
      grpc::ClientContext context;
      v1::EnqueueRequest request;
      v1::EnqueueResponse response;
    };
    auto* const call = new Call();
    uint64_t serial = 0;
    v1::TaskSpec& task = *call->request.mutable_task();
    task.set_queue(kQueue);
    task.set_type(kType);
    task.set_payload(ledger_.NewTask(payload_bytes_, &serial));
    const absl::Time begun = absl::Now();
    call->context.set_deadline(absl::ToChronoTime(begun + deadline_));
    stubs_[serial % kConnections]->async()->Enqueue(
        &call->context, &call->request, &call->response,
        [this, call, serial, begun, done = std::move(done)](const grpc::Status& status) {
          const absl::Status answer = FromGrpc(status);
          ledger_.Answered(serial, answer, absl::Now() - begun);
          delete call;
          done(answer);
        });
  }

 private:
  Ledger& ledger_;
  const size_t payload_bytes_;
  const absl::Duration deadline_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<v1::TaskService::Stub>> stubs_;
};

class Library : public Load {
 public:
  Library(const std::string& address, Ledger& ledger, size_t payload_bytes, absl::Duration deadline)
      : ledger_(ledger), payload_bytes_(payload_bytes) {
    ClientOptions options;
    options.broker = address;
    options.timeout = deadline;
    options.in_flight_bytes = 1 << 20;
    for (size_t i = 0; i < kClients; ++i) clients_.push_back(Client::Connect(options).value());
  }
  ~Library() override { AwaitAnswers(); }

 protected:
  void Begin(std::function<void(const absl::Status&)> done) override {
    uint64_t serial = 0;
    NewTask task{kQueue, kType, ledger_.NewTask(payload_bytes_, &serial), {}};
    const absl::Time begun = absl::Now();
    clients_[serial % kClients]->EnqueueAsync(
        std::move(task), [this, serial, begun, done = std::move(done)](const absl::StatusOr<EnqueueResult>& result) {
          ledger_.Answered(serial, result.status(), absl::Now() - begun);
          done(result.status());
        });
  }

 private:
  Ledger& ledger_;
  const size_t payload_bytes_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace

void Load::Issue() {
  {
    MutexLock lock(mu_);
    ++under_way_;
  }
  Begin([this](const absl::Status&) {
    MutexLock lock(mu_);
    --under_way_;
    changed_.SignalAll();
  });
}

void Load::Closed(size_t window, absl::Duration time) {
  const absl::Time end = absl::Now() + time;
  while (absl::Now() < end) {
    {
      MutexLock lock(mu_);
      while (under_way_ >= window && changed_.WaitFor(mu_, absl::Milliseconds(100))) {
      }
      if (under_way_ >= window) continue;
    }
    Issue();
  }
}

void Load::Open(double rate, absl::Duration time) {
  const absl::Time begin = absl::Now();
  for (uint64_t issued = 0;; ++issued) {
    const absl::Time due = begin + absl::Seconds(static_cast<double>(issued) / rate);
    if (due >= begin + time) return;
    if (due > absl::Now()) absl::SleepFor(due - absl::Now());
    Issue();
  }
}

void Load::AwaitAnswers() {
  MutexLock lock(mu_);
  while (under_way_ > 0) changed_.Wait(mu_);
}

absl::Status Load::One() {
  std::promise<absl::Status> answer;
  Begin([&](const absl::Status& status) { answer.set_value(status); });
  return answer.get_future().get();
}

std::unique_ptr<Load> UnaryLoad(const std::string& address, Ledger& ledger, size_t payload_bytes,
                                absl::Duration deadline) {
  return std::make_unique<Unary>(address, ledger, payload_bytes, deadline);
}

std::unique_ptr<Load> LibraryLoad(const std::string& address, Ledger& ledger, size_t payload_bytes,
                                  absl::Duration deadline) {
  return std::make_unique<Library>(address, ledger, payload_bytes, deadline);
}

}  // namespace penstock::overload
