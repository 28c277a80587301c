#include "tests/chaos/session_tap.h"

#include <algorithm>
#include <cstring>

#include "common/task_id.h"
#include "grpcpp/support/client_interceptor.h"

namespace penstock::chaos {
namespace {

using histcheck::Event;
using histcheck::Op;
using histcheck::Phase;

constexpr int kDefaultPriority = 5;  // proto/penstock/v1/task.proto
// A little more validity is not worth a line.
constexpr int64_t kWorthALine = 300'000;
// As in producer_actor.cc: the broker waits by its wall clock.
constexpr int64_t kAdjusted = 5'000;

uint64_t ToNumber(const std::string& task) { return TaskId::Parse(task).value_or(TaskId()).value(); }

int64_t LeastMicros(const google::protobuf::Duration& duration) {
  return std::max<int64_t>(duration.seconds() * 1'000'000 + duration.nanos() / 1'000 - kAdjusted, 0);
}

// The outcome's kind, and its delay where it has one.
void Describe(const v1::TaskOutcome& outcome, Event* line) {
  switch (outcome.outcome_case()) {
    case v1::TaskOutcome::kCompleted:
      line->kind = "completed";
      break;
    case v1::TaskOutcome::kFailed:
      line->kind = outcome.failed().reject() ? "rejected" : "failed";
      if (outcome.failed().has_retry_after()) line->delay = LeastMicros(outcome.failed().retry_after());
      break;
    case v1::TaskOutcome::kSnoozed:
      line->kind = "snoozed";
      line->delay = LeastMicros(outcome.snoozed().delay());
      break;
    case v1::TaskOutcome::kReleased:
      line->kind = "released";
      break;
    case v1::TaskOutcome::kCancelled:
      line->kind = "cancelled";
      break;
    case v1::TaskOutcome::OUTCOME_NOT_SET:
      break;
  }
}

}  // namespace

void SessionTap::OnRequest(const v1::WorkRequest& request) {
  MutexLock lock(mu_);
  const int64_t now = recorder_.Now();
  if (request.has_hello()) {
    hello_sent_ = now;
    resumes_ = !request.hello().session_id().empty();
    heard_ = 0;
    starts_.clear();  // told anew
  }
  const uint64_t number = request.frame_number() > 0 ? request.frame_number() : last_number_ + 1;
  for (const v1::TaskStart& start : request.starts()) {
    starts_.push_back({number, {ToNumber(start.task_id()), start.fencing_token()}});
  }
  if (request.frame_number() > 0) {
    last_number_ = request.frame_number();
    Frame& frame = frames_.emplace_back();
    frame.number = request.frame_number();
    frame.sent = now;
    for (const v1::TaskOutcome& outcome : request.outcomes()) {
      const LeaseOf lease{ToNumber(outcome.task_id()), outcome.fencing_token()};
      const bool repeated = !told_.insert(lease).second;
      frame.reports.push_back({lease, repeated});
      if (repeated) continue;
      Event line = LineOf(Op::kOutcome, who_);
      line.task = lease.first;
      line.token = lease.second;
      Describe(outcome, &line);
      recorder_.Write(line);
    }
  }
  if (request.goodbye()) LoseAll(false, "given_back");
}

void SessionTap::OnResponse(const v1::WorkResponse& response) {
  MutexLock lock(mu_);
  if (response.has_welcome()) TakeWelcome(response.welcome());
  for (const v1::Delivery& delivery : response.deliveries()) {
    Event line = LineOf(Op::kDeliver, who_);
    line.task = ToNumber(delivery.task_id());
    line.token = delivery.fencing_token();
    line.attempt = delivery.attempt();
    line.max_attempts = delivery.max_attempts();
    line.payload = delivery.spec().payload();
    line.q = delivery.spec().queue();
    line.type = delivery.spec().type();
    line.priority = delivery.spec().has_priority() ? delivery.spec().priority() : kDefaultPriority;
    line.since = heard_;
    recorder_.Write(line);
  }
  TakeAcknowledged(response);
}

void SessionTap::TakeWelcome(const v1::Welcome& welcome) {
  if (!welcome.resumed()) {
    if (resumes_) LoseAll(true, "");
    told_.clear();
    last_number_ = 0;  // another session counts anew
  }
  // What was not acknowledged comes again in other frames.
  frames_.clear();
  for (const std::string& task : welcome.lost_task_ids()) {
    Event line = LineOf(Op::kLost, who_);
    line.task = ToNumber(task);
    line.told = true;
    recorder_.Write(line);
  }
  heard_ = hello_sent_;
  Vouch(hello_sent_);
}

void SessionTap::TakeAcknowledged(const v1::WorkResponse& response) {
  std::map<LeaseOf, v1::Refusal::Reason> refused;
  for (const v1::Refusal& refusal : response.refusals()) {
    refused[{ToNumber(refusal.task_id()), refusal.fencing_token()}] = refusal.reason();
  }
  while (!frames_.empty() && frames_.front().number <= response.acknowledged_frame()) {
    const Frame& frame = frames_.front();
    for (const Report& report : frame.reports) {
      Event line = LineOf(Op::kAnswer, who_);
      line.task = report.lease.first;
      line.token = report.lease.second;
      line.dup = report.repeated;
      line.phase = Phase::kOk;
      if (auto found = refused.find(report.lease); found != refused.end()) {
        line.phase = found->second == v1::Refusal::REASON_ALREADY_FINISHED ? Phase::kFinished : Phase::kStale;
      }
      told_.erase(report.lease);
      recorder_.Write(line);
    }
    heard_ = frame.sent;
    Vouch(frame.sent);
    frames_.pop_front();
  }
  while (!starts_.empty() && starts_.front().first <= response.acknowledged_frame()) {
    const LeaseOf lease = starts_.front().second;
    starts_.pop_front();
    if (refused.contains(lease)) continue;
    Event line = LineOf(Op::kStart, who_);
    line.task = lease.first;
    line.token = lease.second;
    line.phase = Phase::kOk;
    recorder_.Write(line);
  }
  for (const auto& [lease, reason] : refused) {
    std::erase_if(starts_, [&, key = lease](const auto& start) { return start.second == key; });
    if (reason != v1::Refusal::REASON_STALE_LEASE) continue;
    Event line = LineOf(Op::kLost, who_);
    line.task = lease.first;
    line.token = lease.second;
    line.told = true;
    recorder_.Write(line);
  }
}

void SessionTap::OnEnd(bool gone) {
  MutexLock lock(mu_);
  recorder_.Write(LineOf(Op::kCut, who_));
  if (gone && resumes_) {
    LoseAll(true, "");
    frames_.clear();
    told_.clear();
  }
  starts_.clear();
}

void SessionTap::LoseAll(bool told, const char* kind) {
  Event line = LineOf(Op::kLost, who_);
  line.told = told;
  line.kind = kind;
  recorder_.Write(line);
}

void SessionTap::Vouch(int64_t sent) {
  const int64_t until = sent + vouched_;
  if (until < valid_until_ + kWorthALine) return;
  valid_until_ = until;
  Event line = LineOf(Op::kValid, who_);
  line.until = until;
  recorder_.Write(line);
}

namespace {

// Every worker of the process, by name.
struct Taps {
  Recorder& recorder;
  const int64_t vouched;
  Mutex mu;
  std::map<std::string, std::shared_ptr<SessionTap>> by_name ABSL_GUARDED_BY(mu);

  std::shared_ptr<SessionTap> Of(const std::string& worker) {
    MutexLock lock(mu);
    std::shared_ptr<SessionTap>& tap = by_name[worker];
    if (tap == nullptr) tap = std::make_shared<SessionTap>(recorder, worker, vouched);
    return tap;
  }
};

class Interceptor : public grpc::experimental::Interceptor {
 public:
  Interceptor(Taps& taps, bool work) : taps_(taps), work_(work) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using Point = grpc::experimental::InterceptionHookPoints;
    if (work_) {
      if (methods->QueryInterceptionHookPoint(Point::PRE_SEND_MESSAGE)) {
        const auto* request = static_cast<const v1::WorkRequest*>(methods->GetSendMessage());
        if (request->has_hello()) tap_ = taps_.Of(request->hello().worker_name());
        tap_->OnRequest(*request);
      }
      // Null: the stream has ended.
      if (methods->QueryInterceptionHookPoint(Point::POST_RECV_MESSAGE) && methods->GetRecvMessage() != nullptr) {
        tap_->OnResponse(*static_cast<const v1::WorkResponse*>(methods->GetRecvMessage()));
      }
      if (methods->QueryInterceptionHookPoint(Point::POST_RECV_STATUS) && tap_ != nullptr) {
        tap_->OnEnd(methods->GetRecvStatus()->error_code() == grpc::StatusCode::NOT_FOUND);
      }
    }
    methods->Proceed();
  }

 private:
  Taps& taps_;
  const bool work_;
  std::shared_ptr<SessionTap> tap_;
};

class Factory : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  Factory(Recorder& recorder, int64_t vouched) : taps_{recorder, vouched, {}, {}} {}
  // One for every call: gRPC 1.51 calls what a global factory makes, null or not.
  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo* info) override {
    return new Interceptor(taps_, std::strcmp(info->method(), "/penstock.v1.WorkerService/Work") == 0);
  }

 private:
  Taps taps_;
};

}  // namespace

void TapSessions(Recorder& recorder, int64_t vouched) {
  grpc::experimental::RegisterGlobalClientInterceptorFactory(new Factory(recorder, vouched));
}

}  // namespace penstock::chaos
