#include "client/fake_client.h"

#include <algorithm>
#include <string>
#include <utility>

#include "client/callback_scope.h"
#include "client/task_spec.h"
#include "common/status.h"

namespace penstock {

FakeClient::~FakeClient() {
  std::multimap<TaskId, WaitCallback> waiters;
  {
    MutexLock lock(mu_);
    waiters.swap(waiters_);
  }
  CallbackScope scope;
  for (auto& [id, done] : waiters) done(absl::CancelledError("the client was destroyed while it waited for the task"));
}

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
    const auto holder = added ? tasks_.end() : tasks_.find(found->second);
    if (holder != tasks_.end() && !holder->second.finished()) {
      // Nobody runs tasks of a fake: each that is not ended waits.
      const bool replaces = task.options.unique_conflict != UniqueConflict::kKeep;
      if (replaces) {
        NewTask& before = EnqueuedLocked(holder->first)->task;
        if (task.options.unique_conflict == UniqueConflict::kReplace) {
          task.options.run_at = before.options.run_at;
          task.options.delay = before.options.delay;
        }
        holder->second.type = task.type;
        holder->second.payload = task.payload;
        ++holder->second.revision;
        before = std::move(task);
      }
      return EnqueueResult{holder->first, true, replaces};
    }
    found->second = TaskId(0, next_id_, 0);
  }
  const TaskId id(0, next_id_++, 0);
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
  CallbackScope scope;
  done(std::move(result));
}

void FakeClient::EnqueueManyAsync(std::vector<NewTask> tasks, EnqueueManyCallback done) {
  absl::StatusOr<std::vector<EnqueueResult>> results = AddMany(std::move(tasks));
  CallbackScope scope;
  done(std::move(results));
}

absl::StatusOr<std::vector<EnqueueResult>> FakeClient::AddMany(std::vector<NewTask> tasks) {
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
  TellWaiters(id);
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
  TellWaiters(id);
}

void FakeClient::TellWaiters(TaskId id) {
  std::vector<std::pair<WaitCallback, TaskInfo>> calls;
  {
    MutexLock lock(mu_);
    const auto [begin, end] = waiters_.equal_range(id);
    for (auto waiter = begin; waiter != end; ++waiter) calls.emplace_back(std::move(waiter->second), tasks_[id]);
    waiters_.erase(begin, end);
  }
  changed_.SignalAll();
  {
    CallbackScope scope;
    for (auto& [done, info] : calls) done(std::move(info));
  }
  FinishedTask finished;
  std::string queue;
  std::vector<std::shared_ptr<Subscription>> subscriptions;
  {
    MutexLock lock(mu_);
    const TaskInfo& info = tasks_[id];
    queue = info.queue;
    finished = {id, info.state, info.type, std::max(info.attempt, 1), absl::Now(), info.dead_reason};
    for (const std::weak_ptr<Subscription>& weak : subscriptions_) {
      if (auto subscription = weak.lock()) subscriptions.push_back(std::move(subscription));
    }
  }
  for (const std::shared_ptr<Subscription>& subscription : subscriptions) {
    const SubscribeOptions& options = subscription->options;
    if (subscription->queue != queue || (!options.type.empty() && options.type != finished.type)) continue;
    const auto& states = options.states;
    if (!states.empty() && std::find(states.begin(), states.end(), finished.state) == states.end()) continue;
    SubscriptionUpdate update;
    update.tasks.push_back(finished);
    subscription->told(std::move(update));
  }
}

std::shared_ptr<void> FakeClient::Subscribe(const std::string& queue, const SubscribeOptions& options,
                                            SubscribeCallback told) {
  auto subscription = std::make_shared<Subscription>();
  subscription->queue = queue;
  subscription->options = options;
  subscription->told = std::move(told);
  MutexLock lock(mu_);
  std::erase_if(subscriptions_, [](const auto& weak) { return weak.expired(); });
  subscriptions_.push_back(subscription);
  return subscription;
}

absl::StatusOr<TaskExplanation> FakeClient::ExplainTask(TaskId id) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(const TaskInfo info, FindLocked(id));
  if (auto found = explanations_.find(id); found != explanations_.end() && !info.finished()) return found->second;
  TaskExplanation explanation;
  explanation.state = info.state;
  return explanation;
}

void FakeClient::SetExplanation(TaskId id, TaskExplanation explanation) {
  MutexLock lock(mu_);
  explanations_[id] = std::move(explanation);
}

absl::StatusOr<TaskInfo> FakeClient::FindLocked(TaskId id) const {
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
  return found->second;
}

absl::StatusOr<TaskInfo> FakeClient::WaitTask(TaskId id, absl::Duration timeout) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  const absl::Time deadline = absl::Now() + timeout;
  MutexLock lock(mu_);
  absl::StatusOr<TaskInfo> info = FindLocked(id);
  while (info.ok() && !info->finished() && absl::Now() < deadline) {
    changed_.WaitFor(mu_, deadline - absl::Now());
    info = FindLocked(id);
  }
  return info;
}

void FakeClient::WaitAsync(TaskId id, absl::Duration timeout, WaitCallback done) {
  absl::StatusOr<TaskInfo> info;
  {
    MutexLock lock(mu_);
    info = FindLocked(id);
    if (info.ok() && !info->finished() && timeout > absl::ZeroDuration()) {
      waiters_.emplace(id, std::move(done));
      return;
    }
  }
  CallbackScope scope;
  done(std::move(info));
}

absl::StatusOr<TaskInfo> FakeClient::GetTask(TaskId id, bool include_payload) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(TaskInfo info, FindLocked(id));
  if (!include_payload) info.payload.clear();
  return info;
}

std::shared_ptr<void> FakeClient::Watch(TaskId id, WatchCallback changed) {
  absl::StatusOr<TaskInfo> info;
  {
    MutexLock lock(mu_);
    info = FindLocked(id);
  }
  if (info.ok()) info->payload.clear();
  changed(std::move(info));
  return nullptr;
}

absl::StatusOr<std::vector<TaskId>> FakeClient::Find(const TaskFilter& filter) const {
  if (filter.created_from || filter.created_before || !filter.error.empty() || !filter.where.empty()) {
    return absl::UnimplementedError(
        "a FakeClient knows queue, states, type, tag, key and group of a filter; penstock::test_broker knows all");
  }
  const auto is_or_any = [](const std::string& wanted, const std::string& value) {
    return wanted.empty() || wanted == value;
  };
  MutexLock lock(mu_);
  std::vector<TaskId> found;
  for (const EnqueuedTask& enqueued : enqueued_) {
    const auto info = tasks_.find(enqueued.id);
    if (info == tasks_.end()) continue;  // deleted
    const TaskState state = info->second.state;
    const EnqueueOptions& options = enqueued.task.options;
    // As of the broker's: these have lost what they were made of.
    const bool has_lost = state == TaskState::kCompleted || state == TaskState::kCancelled;
    if (has_lost && !(filter.tag.empty() && filter.key.empty() && filter.group.empty())) continue;
    const bool of_state =
        filter.states.empty() || std::find(filter.states.begin(), filter.states.end(), state) != filter.states.end();
    const bool tagged =
        filter.tag.empty() || std::find(options.tags.begin(), options.tags.end(), filter.tag) != options.tags.end();
    if (enqueued.task.queue == filter.queue && of_state && tagged && is_or_any(filter.type, enqueued.task.type) &&
        is_or_any(filter.key, options.key) && is_or_any(filter.group, options.group)) {
      found.push_back(enqueued.id);
    }
  }
  return found;
}

absl::StatusOr<TaskPage> FakeClient::ListTasks(const TaskFilter& filter, int page_size, const std::string& page_token) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  ASSIGN_OR_RETURN(const std::vector<TaskId> found, Find(filter));
  TaskPage page;
  MutexLock lock(mu_);
  for (TaskId id : found) {
    if (!page_token.empty() && id.ToString() <= page_token) continue;
    if (static_cast<int>(page.tasks.size()) == page_size) {
      page.next_page_token = page.tasks.back().id.ToString();
      break;
    }
    ASSIGN_OR_RETURN(TaskInfo info, FindLocked(id));
    info.payload.clear();
    info.result.clear();
    info.attempts.clear();
    page.tasks.push_back(std::move(info));
  }
  return page;
}

absl::Status FakeClient::ChangeForBulk(const BulkJobSpec& spec, TaskId id) {
  switch (spec.action) {
    case BulkAction::kCancel:
      return CancelTask(id, spec.reason).status();
    case BulkAction::kRetry:
      return RetryTask(id);
    case BulkAction::kDelete:
      break;
  }
  MutexLock lock(mu_);
  return tasks_.erase(id) > 0 ? absl::OkStatus() : absl::NotFoundError("there is no task " + id.ToString());
}

absl::StatusOr<bool> FakeClient::CancelTask(TaskId id, const std::string&) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  {
    MutexLock lock(mu_);
    auto found = tasks_.find(id);
    if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
    if (found->second.finished()) return absl::FailedPreconditionError("the task is finished");
    found->second.state = TaskState::kCancelled;
  }
  TellWaiters(id);
  return true;
}

absl::Status FakeClient::RetryTask(TaskId id) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  MutexLock lock(mu_);
  auto found = tasks_.find(id);
  if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
  if (found->second.state != TaskState::kDead) return absl::FailedPreconditionError("the task is not dead");
  found->second.state = TaskState::kAvailable;
  return absl::OkStatus();
}

FakeClient::EnqueuedTask* FakeClient::EnqueuedLocked(TaskId id) {
  const auto found =
      std::find_if(enqueued_.begin(), enqueued_.end(), [&](const EnqueuedTask& task) { return task.id == id; });
  return found == enqueued_.end() ? nullptr : &*found;
}

absl::StatusOr<ChangedTask> FakeClient::UpdateTask(TaskId id, const TaskChange& change) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  v1::UpdateTaskRequest request;  // refuses what the real client would
  RETURN_IF_ERROR(FillUpdate(id, change, &request));
  MutexLock lock(mu_);
  const auto found = tasks_.find(id);
  EnqueuedTask* enqueued = EnqueuedLocked(id);
  if (found == tasks_.end() || enqueued == nullptr) return absl::NotFoundError("there is no task " + id.ToString());
  TaskInfo& info = found->second;
  if (info.finished()) return absl::FailedPreconditionError("the task is finished");
  if (change.revision && *change.revision != info.revision) {
    return absl::AbortedError("the task is at revision " + std::to_string(info.revision));
  }
  EnqueueOptions& options = enqueued->task.options;
  if (change.queue) info.queue = enqueued->task.queue = *change.queue;
  if (change.payload) info.payload = enqueued->task.payload = *change.payload;
  if (change.content_type) options.content_type = *change.content_type;
  if (change.headers) options.headers = *change.headers;
  if (change.tags) options.tags = *change.tags;
  if (change.priority) options.priority = change.priority;
  if (change.run_at || change.delay) {
    options.run_at = change.run_at;
    options.delay = change.delay.value_or(absl::ZeroDuration());
  }
  if (change.expire_at) {
    options.expire_at = *change.expire_at == absl::InfiniteFuture() ? std::nullopt : change.expire_at;
  }
  // Of the two, the one that is set takes the other's place, as in the broker.
  if (options.expire_at && change.expire_at) options.start_within = absl::ZeroDuration();
  if (change.start_within) {
    options.start_within = *change.start_within;
    if (options.start_within != absl::ZeroDuration()) options.expire_at = std::nullopt;
  }
  if (change.life_timeout) options.life_timeout = *change.life_timeout;
  if (change.retry_policy) SetPolicy(*change.retry_policy, &options);
  if (change.worker_labels) options.worker_labels = *change.worker_labels;
  if (change.run_timeout) options.run_timeout = *change.run_timeout;
  if (change.result_retention) options.result_retention = change.result_retention;
  if (change.group) options.group = *change.group;
  if (change.cost) options.cost = *change.cost;
  return ChangedTask{++info.revision, options.run_at.value_or(absl::Now() + options.delay)};
}

absl::Status FakeClient::DeleteTask(TaskId id) {
  RETURN_IF_ERROR(CallbackScope::CheckMayBlock());
  std::vector<WaitCallback> waiters;
  {
    MutexLock lock(mu_);
    const auto found = tasks_.find(id);
    if (found == tasks_.end()) return absl::NotFoundError("there is no task " + id.ToString());
    if (found->second.state == TaskState::kCompleted) return absl::FailedPreconditionError("the task is completed");
    tasks_.erase(found);
    std::erase_if(enqueued_, [&](const EnqueuedTask& task) { return task.id == id; });
    const auto [begin, end] = waiters_.equal_range(id);
    for (auto waiter = begin; waiter != end; ++waiter) waiters.push_back(std::move(waiter->second));
    waiters_.erase(begin, end);
  }
  changed_.SignalAll();
  CallbackScope scope;
  for (WaitCallback& done : waiters) done(absl::NotFoundError("the task was deleted"));
  return absl::OkStatus();
}

}  // namespace penstock
