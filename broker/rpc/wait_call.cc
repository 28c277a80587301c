#include "broker/rpc/wait_call.h"

#include <chrono>
#include <utility>

#include "broker/rpc/task_reader.h"
#include "common/status_grpc.h"

namespace penstock::broker {

WaitCall* WaitCall::Start(RpcContext& context, TaskId task, absl::Duration timeout, v1::WaitTaskResponse* response) {
  auto call = std::make_shared<WaitCall>(context, task, response);
  call->self_ = call;
  call->watch_ = std::make_shared<TaskWatch>(context, call);
  // The alarm is a part of the call and keeps its function: it must not own the call.
  call->alarm_.Set(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout),
                   [weak = std::weak_ptr<WaitCall>(call)](bool fired) {
                     auto waiting = weak.lock();
                     if (fired && waiting != nullptr) waiting->OnTimeout();
                   });
  context.calls.Add(call);
  call->watch_->Start(task, true);
  return call.get();
}

void WaitCall::OnTask(v1::Task task, bool finished) {
  if (!finished) return watch_->Next();
  if (Claim()) Answer(std::move(task), true);
}

void WaitCall::OnWatchFailed(const absl::Status& status) {
  if (Claim()) End(status);
}

void WaitCall::OnTimeout() {
  if (!Claim()) return;
  GetTaskCommand command;
  command.task = task_;
  Ask(context_.door, context_.tickets, command, kSmallCommandBytes, [self = shared_from_this()](Reply reply) {
    auto* task = std::get_if<TaskReply>(&reply.value);
    if (task == nullptr) return self->End(reply.status);
    const absl::Status status =
        self->context_.reads.Submit([self, snapshot = std::move(task->snapshot)] { self->AnswerCurrent(snapshot); });
    if (!status.ok()) self->End(status);
  });
}

void WaitCall::AnswerCurrent(const TaskSnapshot& snapshot) {
  std::unique_ptr<StoreReader> store = context_.door.Snapshot();
  if (store == nullptr) return End(StoppingError());
  TaskReader reader(std::move(store), context_.partition, context_.WallNow());
  v1::Task task;
  const absl::Status status = reader.Read(snapshot, {.attempts = true, .result = true}, &task);
  if (!status.ok()) return End(status);
  const bool finished = IsFinal(static_cast<State>(task.state()));
  Answer(std::move(task), finished);
}

void WaitCall::OnCancel() {
  if (Claim()) End(absl::CancelledError("the caller is gone"));
}

void WaitCall::Stop() {
  if (Claim()) End(StoppingError());
}

bool WaitCall::Claim() {
  MutexLock lock(mu_);
  return !std::exchange(claimed_, true);
}

void WaitCall::Answer(v1::Task task, bool finished) {
  *response_.mutable_task() = std::move(task);
  response_.set_finished(finished);
  End(absl::OkStatus());
}

void WaitCall::End(const absl::Status& status) {
  watch_->Leave();
  alarm_.Cancel();
  Finish(ToGrpc(status));
}

void WaitCall::OnDone() {
  context_.calls.Remove(this);
  self_.reset();  // may destroy this
}

}  // namespace penstock::broker
