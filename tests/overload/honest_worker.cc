#include "tests/overload/honest_worker.h"

#include <utility>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "tests/overload/load.h"

namespace penstock::overload {
namespace {

// Tasks that it takes at a time: more than a slow disk brings in a few commits.
constexpr int kCredit = 1'000;
constexpr absl::Duration kRenewal = absl::Seconds(5);

std::shared_ptr<grpc::Channel> Dial(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

HonestWorker::HonestWorker(const std::string& address, Ledger& ledger)
    : ledger_(ledger),
      channel_(Dial(address)),
      stub_(v1::WorkerService::NewStub(channel_)),
      stream_(stub_->Work(&context_)) {
  v1::WorkRequest request;
  v1::Hello& hello = *request.mutable_hello();
  hello.set_worker_name("honest");
  hello.add_queues(kQueue);
  hello.add_types()->set_type(kType);
  hello.set_concurrency(kCredit);
  request.set_credit(kCredit);
  Write(request);
  reader_ = std::thread([this] { Read(); });
  renewer_ = std::thread([this] { Renew(); });
}

HonestWorker::~HonestWorker() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.SignalAll();
  }
  renewer_.join();
  v1::WorkRequest goodbye;
  goodbye.set_goodbye(true);
  Write(goodbye);
  reader_.join();
}

void HonestWorker::Write(const v1::WorkRequest& request) {
  MutexLock lock(write_mu_);
  stream_->Write(request);
}

void HonestWorker::Renew() {
  MutexLock lock(mu_);
  while (!stopping_) {
    changed_.WaitFor(mu_, kRenewal);
    if (!stopping_) Write(v1::WorkRequest());
  }
}

void HonestWorker::Read() {
  v1::WorkResponse response;
  while (stream_->Read(&response)) Hear(response);
  const grpc::Status status = stream_->Finish();
  MutexLock lock(mu_);
  if (!stopping_) ledger_.Wrong("the worker's stream ended: " + status.error_message());
}

void HonestWorker::Hear(const v1::WorkResponse& response) {
  for (const v1::Refusal& refusal : response.refusals()) {
    ledger_.Wrong(fmt::format("what the worker said of task {} was refused", refusal.task_id()));
  }
  while (!sent_.empty() && sent_.begin()->first <= response.acknowledged_frame()) {
    const Sent& sent = sent_.begin()->second;
    for (uint64_t serial : sent.serials) ledger_.Completed(serial, absl::Now() - sent.at);
    sent_.erase(sent_.begin());
  }
  if (response.deliveries().empty()) return;
  v1::WorkRequest request;
  Sent sent;
  for (const v1::Delivery& delivery : response.deliveries()) {
    const uint64_t serial = Ledger::SerialOf(delivery.spec().payload());
    ledger_.Delivered(serial, delivery.attempt());
    sent.serials.push_back(serial);
    v1::TaskOutcome& outcome = *request.add_outcomes();
    outcome.set_task_id(delivery.task_id());
    outcome.set_fencing_token(delivery.fencing_token());
    outcome.mutable_completed();
  }
  request.set_credit(response.deliveries_size());
  request.set_frame_number(++last_frame_);
  sent.at = absl::Now();
  sent_.emplace(last_frame_, std::move(sent));
  Write(request);
}

}  // namespace penstock::overload
