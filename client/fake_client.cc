#include "client/fake_client.h"

#include <utility>

#include "client/task_spec.h"
#include "common/status.h"

namespace penstock {

std::vector<FakeClient::EnqueuedTask> FakeClient::Enqueued() const {
  MutexLock lock(mu_);
  return enqueued_;
}

std::vector<FakeClient::EnqueuedTask> FakeClient::EnqueuedOfType(const std::string& type) const {
  std::vector<EnqueuedTask> tasks = Enqueued();
  std::erase_if(tasks, [&](const EnqueuedTask& task) { return task.task.type != type; });
  return tasks;
}

void FakeClient::FailEnqueues(absl::Status status) {
  MutexLock lock(mu_);
  fail_ = std::move(status);
}

absl::StatusOr<EnqueueResult> FakeClient::AddLocked(NewTask task) {
  if (!fail_.ok()) return fail_;
  v1::TaskSpec spec;  // refuses what the real client would
  RETURN_IF_ERROR(FillTaskSpec(task, &spec));
  if (!task.options.unique_key.empty()) {
    auto [found, added] = unique_.try_emplace(task.queue + "\n" + task.options.unique_key, TaskId());
    if (!added && !tasks_[found->second].finished()) return EnqueueResult{found->second, true};
    found->second = TaskId(0, enqueued_.size() + 1, 0);
  }
  const TaskId id(0, enqueued_.size() + 1, 0);
  TaskInfo& info = tasks_[id];
  info.id = id;
  info.state = TaskState::kAvailable;
  info.queue = task.queue;
  info.type = task.type;
  info.payload = task.payload;
  enqueued_.push_back({id, std::move(task)});
  return EnqueueResult{id, false};
}

void FakeClient::EnqueueAsync(NewTask task, EnqueueCallback done) {
  absl::StatusOr<EnqueueResult> result;
  {
    MutexLock lock(mu_);
    result = AddLocked(std::move(task));
  }
  done(std::move(result));
}

absl::StatusOr<std::vector<EnqueueResult>> FakeClient::EnqueueMany(std::vector<NewTask> tasks) {
  MutexLock lock(mu_);
  for (const NewTask& task : tasks) {
    v1::TaskSpec spec;
    RETURN_IF_ERROR(FillTaskSpec(task, &spec));
  }
  std::vector<EnqueueResult> results;
  for (NewTask& task : tasks) {
    ASSIGN_OR_RETURN(EnqueueResult result, AddLocked(std::move(task)));
    results.push_back(result);
  }
  return results;
}

void FakeClient::Complete(TaskId id, std::string result) {
  {
    MutexLock lock(mu_);
    tasks_[id].state = TaskState::kCompleted;
    tasks_[id].result = std::move(result);
  }
  changed_.SignalAll();
}

void FakeClient::Kill(TaskId id, std::string error_message) {
  {
    MutexLock lock(mu_);
    TaskInfo& info = tasks_[id];
    info.state = TaskState::kDead;
    info.dead_reason = "rejected";
    TaskAttempt& attempt = info.attempts.emplace_back();
    attempt.number = ++info.attempt;
    attempt.outcome = "failed";
    attempt.error_message = std::move(error_message);
  }
  changed_.SignalAll();
}

absl::StatusOr<TaskInfo> FakeClient::WaitTask(TaskId id, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  MutexLock lock(mu_);
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
  while (!found->second.finished() && absl::Now() < deadline) changed_.WaitFor(mu_, deadline - absl::Now());
  return found->second;
}

absl::StatusOr<TaskInfo> FakeClient::GetTask(TaskId id, bool include_payload) {
  MutexLock lock(mu_);
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
  TaskInfo info = found->second;
  if (!include_payload) info.payload.clear();
  return info;
}

std::shared_ptr<void> FakeClient::Watch(TaskId id, WatchCallback changed) {
  changed(GetTask(id, false));
  return nullptr;
}

absl::StatusOr<bool> FakeClient::CancelTask(TaskId id, const std::string&) {
  {
    MutexLock lock(mu_);
    auto found = tasks_.find(id);
    if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
    if (found->second.finished()) return absl::FailedPreconditionError("the task is finished");
    found->second.state = TaskState::kCancelled;
  }
  changed_.SignalAll();
  return true;
}

absl::Status FakeClient::RetryTask(TaskId id) {
  MutexLock lock(mu_);
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
  if (found->second.state != TaskState::kDead) return absl::FailedPreconditionError("the task is not dead");
  found->second.state = TaskState::kAvailable;
  return absl::OkStatus();
}

}  // namespace penstock
