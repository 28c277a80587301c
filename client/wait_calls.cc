#include "client/wait_calls.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/backoff.h"
#include "client/call_status.h"
#include "client/callback_scope.h"
#include "client/task_spec.h"
#include "common/keep_grpc.h"
#include "common/status.h"

namespace penstock {
namespace {

// One call lasts at most this long; then it is made again.
constexpr absl::Duration kPiece = absl::Minutes(10);
// What the broker has for its answer when the time is up.
constexpr absl::Duration kAnswer = absl::Seconds(2);
// Half of what a broker takes, so that there is room for all other calls.
constexpr int kWaitsPerConnection = 500;

absl::Status Gone() { return absl::CancelledError("the client was destroyed while it waited for the task"); }

}  // namespace

WaitCalls::WaitCalls(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel, Connect connect)
    : options_(options), connect_(std::move(connect)) {
  auto stub = v1::TaskService::NewStub(channel);
  connections_.push_back({std::move(channel), std::move(stub)});
}

void WaitCalls::Stop() {
  std::vector<Waits::iterator> pausing;
  std::thread keeper;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    for (auto wait = waits_.begin(); wait != waits_.end(); ++wait) {
      if (wait->context != nullptr) wait->context->TryCancel();
      if (std::exchange(wait->again_at, absl::InfiniteFuture()) != absl::InfiniteFuture()) pausing.push_back(wait);
    }
    keeper = std::move(keeper_);
    paused_.Signal();
  }
  if (keeper.joinable()) keeper.join();
  for (Waits::iterator wait : pausing) Finish(wait, Gone());
  MutexLock lock(mu_);
  while (!waits_.empty()) ended_.Wait(mu_);
}

void WaitCalls::Add(TaskId task, absl::Time deadline, Done done) {
  {
    MutexLock lock(mu_);
    if (!stopping_) {
      const Waits::iterator wait = waits_.emplace(waits_.end());
      wait->deadline = deadline;
      wait->done = std::move(done);
      wait->request.set_task_id(task.ToString());
      wait->connection = FindConnection();
      budget_.OnCall();
      ++wait->connection->waits;
      Call(wait);
      return;
    }
  }
  CallbackScope scope;
  done(Gone());
}

WaitCalls::Connection* WaitCalls::FindConnection() {
  for (Connection& connection : connections_) {
    if (connection.waits < kWaitsPerConnection) return &connection;
  }
  auto channel = connect_();
  auto stub = v1::TaskService::NewStub(channel);
  return &connections_.emplace_back(Connection{std::move(channel), std::move(stub)});
}

void WaitCalls::Call(Waits::iterator wait) {
  const absl::Time now = absl::Now();
  const absl::Duration time = std::clamp(wait->deadline - now, absl::ZeroDuration(), kPiece);
  wait->request.mutable_timeout()->set_seconds(absl::ToInt64Seconds(time));
  wait->request.mutable_timeout()->set_nanos(
      static_cast<int32_t>((time - absl::Seconds(absl::ToInt64Seconds(time))) / absl::Nanoseconds(1)));
  wait->again_at = absl::InfiniteFuture();
  wait->context = std::make_unique<grpc::ClientContext>();
  wait->context->set_deadline(absl::ToChronoTime(now + time + kAnswer));
  wait->context->set_wait_for_ready(options_.when_unavailable == WhenUnavailable::kWait);
  KeepGrpcCallbacks(wait->connection->channel);
  wait->connection->stub->async()->WaitTask(
      wait->context.get(), &wait->request, &wait->response,
      [this, wait](const grpc::Status& status) { OnAnswer(wait, CallStatus(status)); });
}

void WaitCalls::OnAnswer(Waits::iterator wait, const absl::Status& status) {
  absl::StatusOr<TaskInfo> result;
  {
    MutexLock lock(mu_);
    wait->context.reset();
    if (!IsOver(wait, status, &result)) return;
  }
  Finish(wait, std::move(result));
}

bool WaitCalls::IsOver(Waits::iterator wait, const absl::Status& status, absl::StatusOr<TaskInfo>* result) {
  const absl::Time now = absl::Now();
  if (std::exchange(wait->refused, IsRefusedForNow(status)) && !wait->refused) budget_.OnTaken();
  if (status.ok() && (wait->response.finished() || now >= wait->deadline)) {
    *result = ToTaskInfo(std::move(*wait->response.mutable_task()));
    return true;
  }
  if (stopping_) {
    *result = Gone();
    return true;
  }
  if (status.ok()) {
    wait->failures = 0;
    Call(wait);
    return false;
  }
  // The broker restarts, the way to it is broken, or it says when to come back: ask again until the time is up.
  const bool away =
      absl::IsUnavailable(status) || (absl::IsDeadlineExceeded(status) && now < wait->deadline) || wait->refused;
  if (!away || options_.when_unavailable == WhenUnavailable::kFailFast) {
    *result = away ? Annotate(status, "broker at " + options_.broker) : status;
    return true;
  }
  const absl::Time again_at = now + RetryPause(options_, ++wait->failures, status);
  if (again_at >= wait->deadline) {
    *result = absl::DeadlineExceededError(status.message());
    return true;
  }
  wait->again_at = again_at;
  if (!keeper_.joinable()) keeper_ = std::thread([this] { Keep(); });
  paused_.Signal();
  return false;
}

void WaitCalls::Finish(Waits::iterator wait, absl::StatusOr<TaskInfo> result) {
  // Moved out, so that what it holds is released before the wait counts as ended.
  Done done = std::move(wait->done);
  {
    CallbackScope scope;
    done(std::move(result));
    done = nullptr;
  }
  MutexLock lock(mu_);
  --wait->connection->waits;
  waits_.erase(wait);
  ended_.SignalAll();
}

void WaitCalls::Keep() {
  MutexLock lock(mu_);
  while (!stopping_) {
    const absl::Time now = absl::Now();
    absl::Time next = now + absl::Hours(1);
    for (auto wait = waits_.begin(); wait != waits_.end(); ++wait) {
      // One whose time is up ends by its call, which costs the broker nothing.
      if (wait->again_at <= now && wait->refused && wait->deadline > now && !budget_.Take(now)) {
        next = std::min({next, now + budget_.UntilNext(), wait->deadline});
      } else if (wait->again_at <= now) {
        Call(wait);
      } else {
        next = std::min(next, wait->again_at);
      }
    }
    paused_.WaitFor(mu_, next - now);
  }
}

}  // namespace penstock
