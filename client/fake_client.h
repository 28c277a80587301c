#ifndef PENSTOCK_CLIENT_FAKE_CLIENT_H_
#define PENSTOCK_CLIENT_FAKE_CLIENT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/fake_bulk.h"
#include "client/fake_schedules.h"
#include "client/fake_throttles.h"
#include "common/mutex.h"

namespace penstock {

// A client for tests of code that enqueues: no broker. Remembers what was enqueued and lets the test say how tasks end.
// Any thread. Callbacks are called by the thread that enqueues, or that ends the task, and the rules of client/client.h
// hold in them.
//
//   penstock::FakeClient client;
//   SignUp(&client, "ann@example.com");
//   ASSERT_EQ(client.EnqueuedOfType("mail.welcome").size(), 1);
class FakeClient : public Client {
 public:
  // Fails what waits with Cancelled.
  ~FakeClient() override;

  struct EnqueuedTask {
    TaskId id;
    NewTask task;
  };

  // Everything enqueued so far, in order.
  std::vector<EnqueuedTask> Enqueued() const;
  std::vector<EnqueuedTask> EnqueuedOfType(const std::string& type) const;
  // Every enqueue from now on fails with this; OK ends that.
  void FailEnqueues(absl::Status status);
  // Ends a task; whoever waits for it is told.
  void Complete(TaskId id, std::string result);
  void Kill(TaskId id, std::string error_message);

  void EnqueueAsync(NewTask task, EnqueueCallback done) override;
  void EnqueueManyAsync(std::vector<NewTask> tasks, EnqueueManyCallback done) override;
  absl::StatusOr<TaskInfo> WaitTask(TaskId id, absl::Duration timeout) override;
  // Calls `done` when the test ends the task, however long that takes; at once if it is finished or the timeout is 0.
  void WaitAsync(TaskId id, absl::Duration timeout, WaitCallback done) override;
  absl::StatusOr<TaskInfo> GetTask(TaskId id, bool include_payload = false) override;
  // Calls `changed` once, with the task as it is.
  std::shared_ptr<void> Watch(TaskId id, WatchCallback changed) override;
  // Tells of tasks that the test ends or the code under test cancels, from the thread that does it.
  std::shared_ptr<void> Subscribe(const std::string& queue, const SubscribeOptions& options,
                                  SubscribeCallback told) override;
  // What the test said, or nothing: then the task's state without reasons.
  absl::StatusOr<TaskExplanation> ExplainTask(TaskId id) override;
  void SetExplanation(TaskId id, TaskExplanation explanation);
  absl::StatusOr<bool> CancelTask(TaskId id, const std::string& reason = "") override;
  absl::Status RetryTask(TaskId id) override;
  // Of a task that the test has not ended. Enqueued() shows it as it is now.
  absl::StatusOr<ChangedTask> UpdateTask(TaskId id, const TaskChange& change) override;
  // Enqueued() does not have it any more. Who waits for it is told NotFound.
  absl::Status DeleteTask(TaskId id) override;
  // In the order of their enqueue. Knows queue, states, type, tag, key and group of a filter; Unimplemented with more.
  absl::StatusOr<TaskPage> ListTasks(const TaskFilter& filter, int page_size = 100,
                                     const std::string& page_token = "") override;
  BulkClient& Bulk() override { return bulk_; }
  ScheduleClient& Schedules() override { return schedules_; }
  ThrottleClient& Throttles() override { return throttles_; }

 private:
  absl::StatusOr<EnqueueResult> AddLocked(NewTask task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::vector<EnqueueResult>> AddMany(std::vector<NewTask> tasks);
  EnqueuedTask* EnqueuedLocked(TaskId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<TaskInfo> FindLocked(TaskId id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  struct Subscription {
    std::string queue;
    SubscribeOptions options;
    SubscribeCallback told;
  };
  absl::StatusOr<std::vector<TaskId>> Find(const TaskFilter& filter) const;
  absl::Status ChangeForBulk(const BulkJobSpec& spec, TaskId id);
  // Tells those who wait for the task, which has just ended.
  void TellWaiters(TaskId id);

  FakeThrottles throttles_;
  FakeBulk bulk_{[this](const TaskFilter& filter) { return Find(filter); },
                 [this](const BulkJobSpec& spec, TaskId id) { return ChangeForBulk(spec, id); }};
  FakeSchedules schedules_{[this](NewTask task) -> absl::StatusOr<TaskId> {
    MutexLock lock(mu_);
    absl::StatusOr<EnqueueResult> result = AddLocked(std::move(task));
    if (!result.ok()) return result.status();
    return result->id;
  }};
  mutable Mutex mu_;
  CondVar changed_;
  absl::Status fail_ ABSL_GUARDED_BY(mu_);
  std::vector<EnqueuedTask> enqueued_ ABSL_GUARDED_BY(mu_);
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<TaskId, TaskInfo> tasks_ ABSL_GUARDED_BY(mu_);
  std::multimap<TaskId, WaitCallback> waiters_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, TaskId> unique_ ABSL_GUARDED_BY(mu_);  // by queue and key
  std::map<TaskId, TaskExplanation> explanations_ ABSL_GUARDED_BY(mu_);
  std::vector<std::weak_ptr<Subscription>> subscriptions_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_FAKE_CLIENT_H_
