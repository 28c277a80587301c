#include "broker/rpc/subscribe_stream.h"

#include <algorithm>
#include <utility>

#include "broker/rpc/convert.h"
#include "broker/rpc/fields.h"
#include "common/status.h"
#include "common/status_grpc.h"

namespace penstock::broker {
namespace {

// In one message.
constexpr size_t kEventsPerMessage = 1'000;

absl::Status Check(const v1::SubscribeTasksRequest& request, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckName(FieldPath("queue"), request.queue(), limits.name));
  if (!request.type().empty()) RETURN_IF_ERROR(CheckName(FieldPath("type"), request.type(), limits.name));
  for (int i = 0; i < request.states_size(); ++i) {
    const v1::TaskState state = request.states(i);
    if (state != v1::TASK_STATE_COMPLETED && state != v1::TASK_STATE_CANCELLED && state != v1::TASK_STATE_DEAD) {
      return BadField(FieldPath("states", i), "must be completed, cancelled or dead: those that tasks finish in");
    }
  }
  return absl::OkStatus();
}

// A stream that ends before it began.
class RefusedSubscription final : public grpc::ServerWriteReactor<v1::SubscribeTasksResponse> {
 public:
  explicit RefusedSubscription(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

void ToProto(const TaskEvent& event, v1::TaskEvent* out) {
  out->set_task_id(event.task.ToString());
  out->set_state(ToProto(event.state));
  out->set_type(event.type_name);
  out->set_attempt(static_cast<int32_t>(event.attempt));
  SetTimestamp(event.time, out->mutable_time());
  out->set_dead_reason(static_cast<v1::DeadReason>(event.dead_reason));
}

}  // namespace

SubscribeStream::SubscribeStream(RpcContext& context, const v1::SubscribeTasksRequest& request)
    : context_(context),
      poster_(context.door, *this),
      queue_(request.queue()),
      type_(request.type()),
      states_(request.states().begin(), request.states().end()) {}

grpc::ServerWriteReactor<v1::SubscribeTasksResponse>* SubscribeStream::Start(RpcContext& context,
                                                                             const v1::SubscribeTasksRequest& request) {
  if (const absl::Status status = Check(request, context.limits); !status.ok()) return new RefusedSubscription(status);
  auto stream = std::make_shared<SubscribeStream>(context, request);
  stream->self_ = stream;
  context.calls.Add(stream);
  stream->Subscribe();
  return stream.get();
}

void SubscribeStream::Subscribe() {
  ticket_ = context_.tickets.AddLasting(shared_from_this());
  SubscribeCommand command;
  command.ticket = ticket_;
  command.queue = queue_;
  command.type = type_;
  {
    MutexLock lock(mu_);
    known_ = true;
  }
  const absl::Status status = context_.door.Post(std::move(command), kSmallCommandBytes);
  if (!status.ok()) Refused(status);
}

void SubscribeStream::OnReply(Reply reply) {
  if (!reply.status.ok()) return Refused(reply.status);
  {
    MutexLock lock(mu_);
    greet_ = true;
  }
  WriteNext();
}

bool SubscribeStream::Wants(State state) const {
  return states_.empty() || std::find(states_.begin(), states_.end(), static_cast<int>(state)) != states_.end();
}

void SubscribeStream::OnTaskEvent(TaskEvent event) {
  if (!Wants(event.state)) return;
  {
    MutexLock lock(mu_);
    if (end_) return;
    if (events_.size() >= context_.limits.subscription_events) {
      ++missed_;
      return;
    }
    events_.push_back(std::move(event));
  }
  WriteNext();
}

void SubscribeStream::OnWatchEvent(WatchEvent event) { Refused(event.status); }

void SubscribeStream::Refused(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    known_ = false;
  }
  End(status);
}

void SubscribeStream::WriteNext() {
  {
    MutexLock lock(mu_);
    if (writing_ || end_ || (events_.empty() && missed_ == 0 && !greet_)) return;
    writing_ = true;
    greet_ = false;
    response_.Clear();
    for (size_t i = 0; i < kEventsPerMessage && !events_.empty(); ++i) {
      ToProto(events_.front(), response_.add_events());
      events_.pop_front();
    }
    // Events that were dropped came after those that still wait: they are told of when these have been.
    if (events_.empty()) response_.set_missed(std::exchange(missed_, 0));
  }
  StartWrite(&response_);
}

void SubscribeStream::OnWriteDone(bool ok) {
  bool ended = false;
  {
    MutexLock lock(mu_);
    writing_ = false;
    ended = end_.has_value();
  }
  if (!ok || ended) return End(absl::CancelledError("the caller is gone"));
  WriteNext();
}

void SubscribeStream::OnCancel() { End(absl::CancelledError("the caller is gone")); }

void SubscribeStream::Stop() { End(StoppingError()); }

void SubscribeStream::End(const absl::Status& status) {
  grpc::Status finish;
  bool unwatch = false;
  {
    MutexLock lock(mu_);
    if (!end_) end_ = status;
    events_.clear();
    if (writing_ || finished_) return;
    finished_ = true;
    unwatch = std::exchange(known_, false);
    finish = ToGrpc(*end_);
  }
  context_.tickets.Remove(ticket_);
  if (unwatch) poster_.Post(UnwatchCommand{ticket_}, kSmallCommandBytes, shared_from_this());
  Finish(finish);
}

void SubscribeStream::OnDone() {
  context_.calls.Remove(this);
  self_.reset();  // may destroy this
}

}  // namespace penstock::broker
