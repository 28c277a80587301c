#include "broker/rpc/task_watch.h"

#include <utility>

#include "broker/rpc/task_reader.h"

namespace penstock::broker {

TaskWatch::TaskWatch(RpcContext& context, std::shared_ptr<Listener> listener)
    : context_(context), poster_(context.door, *this), listener_(std::move(listener)) {}

void TaskWatch::Start(TaskId task, bool only_end) {
  ticket_ = context_.tickets.AddLasting(shared_from_this());
  WatchTaskCommand command;
  command.ticket = ticket_;
  command.task = task;
  command.only_end = only_end;
  const absl::Status status = context_.door.Post(command, kSmallCommandBytes);
  if (!status.ok()) Hear(status, {});
}

void TaskWatch::OnReply(Reply reply) {
  auto* task = std::get_if<TaskReply>(&reply.value);
  Hear(reply.status, task == nullptr ? TaskSnapshot() : std::move(task->snapshot));
}

void TaskWatch::OnWatchEvent(WatchEvent event) { Hear(event.status, std::move(event.snapshot)); }

void TaskWatch::Hear(const absl::Status& status, TaskSnapshot snapshot) {
  {
    MutexLock lock(mu_);
    over_ |= !status.ok() || IsFinal(snapshot.state);
    if (status.ok()) newest_ = std::move(snapshot);
  }
  if (!status.ok()) return Fail(status);
  ReadNewest();
}

void TaskWatch::ReadNewest() {
  TaskSnapshot snapshot;
  {
    MutexLock lock(mu_);
    if (busy_ || !newest_ || listener_ == nullptr) return;
    busy_ = true;
    snapshot = *std::exchange(newest_, std::nullopt);
  }
  const absl::Status status =
      context_.reads.Submit([self = shared_from_this(), snapshot = std::move(snapshot)] { self->Read(snapshot); });
  if (!status.ok()) Fail(status);
}

void TaskWatch::Read(const TaskSnapshot& snapshot) {
  const std::shared_ptr<Listener> to = listener();
  if (to == nullptr) return;
  std::unique_ptr<StoreReader> store = context_.door.Snapshot();
  if (store == nullptr) return Fail(StoppingError());
  TaskReader reader(std::move(store), context_.partition, context_.WallNow());
  v1::Task task;
  const absl::Status status = reader.Read(snapshot, {.attempts = true, .result = true}, &task);
  if (!status.ok()) return Fail(status);
  to->OnTask(task, IsFinal(static_cast<State>(task.state())));
}

void TaskWatch::Next() {
  {
    MutexLock lock(mu_);
    busy_ = false;
  }
  ReadNewest();
}

void TaskWatch::Fail(const absl::Status& status) {
  if (const std::shared_ptr<Listener> to = listener()) to->OnWatchFailed(status);
}

std::shared_ptr<TaskWatch::Listener> TaskWatch::listener() {
  MutexLock lock(mu_);
  return listener_;
}

void TaskWatch::Leave() {
  std::shared_ptr<Listener> left;  // destroyed outside the lock
  bool unwatch = false;
  {
    MutexLock lock(mu_);
    if (listener_ == nullptr) return;
    left = std::move(listener_);
    listener_ = nullptr;
    unwatch = !over_;
  }
  context_.tickets.Remove(ticket_);
  if (unwatch) poster_.Post(UnwatchCommand{ticket_}, kSmallCommandBytes, shared_from_this());
}

}  // namespace penstock::broker
