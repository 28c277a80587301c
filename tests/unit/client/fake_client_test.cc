#include "client/fake_client.h"

#include <future>
#include <map>

#include "common/status_details.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

TEST(FakeClientTest, RemembersWhatWasEnqueued) {
  FakeClient client;
  const TaskId id = client.Enqueue("mail", "mail.welcome", "ann").value();
  ASSERT_EQ(client.EnqueuedOfType("mail.welcome").size(), 1u);
  EXPECT_EQ(client.EnqueuedOfType("mail.welcome")[0].task.payload, "ann");
  EXPECT_TRUE(client.EnqueuedOfType("other").empty());
  client.Complete(id, "sent");
  EXPECT_EQ(client.Wait<std::string>(id, absl::ZeroDuration()).value(), "sent");
}

TEST(FakeClientTest, DeadTaskTellsItsError) {
  FakeClient client;
  const TaskId id = client.Enqueue("mail", "mail.welcome", "ann").value();
  client.Kill(id, "no such mailbox");
  auto result = client.Wait<std::string>(id, absl::ZeroDuration());
  EXPECT_EQ(result.status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(std::string(result.status().message()), "the task is dead: rejected; last error: no such mailbox");
}

TEST(FakeClientTest, FailsAsTold) {
  FakeClient client;
  client.FailEnqueues(absl::UnavailableError("down"));
  EXPECT_EQ(client.Enqueue("mail", "mail.welcome", "ann").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(client.Enqueued().empty());
}

TEST(FakeClientTest, KnowsDuplicates) {
  FakeClient client;
  const TaskId id = client.Enqueue("mail", "a", "", {.unique_key = "k"}).value();
  EXPECT_TRUE(client.Enqueue(NewTask{"mail", "a", "", {.unique_key = "k"}})->duplicate);
  client.Complete(id, "");
  EXPECT_FALSE(client.Enqueue(NewTask{"mail", "a", "", {.unique_key = "k"}})->duplicate);
}

TEST(FakeClientTest, ManyAreRememberedAndFailAsTold) {
  FakeClient client;
  auto results = client.EnqueueManyFuture(std::vector<NewTask>(3, NewTask{"mail", "a", "x", {}})).get();
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->size(), 3u);
  EXPECT_EQ(client.Enqueued().size(), 3u);
  client.FailEnqueues(absl::UnavailableError("down"));
  EXPECT_EQ(client.EnqueueManyFuture({NewTask{"mail", "a", "x", {}}}).get().status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(FakeClientTest, TaskThatIsWaitedForTellsItsEnd) {
  std::future<absl::StatusOr<TaskInfo>> never;
  {
    FakeClient client;
    const TaskId done = client.Enqueue("mail", "a", "").value();
    const TaskId dead = client.Enqueue("mail", "a", "").value();
    auto first = client.WaitFuture(done, absl::Minutes(1));
    auto second = client.WaitFuture(dead, absl::Minutes(1));
    EXPECT_EQ(client.WaitFuture(done, absl::ZeroDuration()).get()->state, TaskState::kAvailable);
    client.Complete(done, "sent");
    client.Kill(dead, "no such mailbox");
    EXPECT_EQ(first.get()->result, "sent");
    EXPECT_EQ(second.get()->state, TaskState::kDead);
    EXPECT_EQ(client.WaitFuture(done, absl::Minutes(1)).get()->result, "sent");
    EXPECT_EQ(client.WaitFuture(TaskId(0, 99, 0), absl::Minutes(1)).get().status().code(), absl::StatusCode::kNotFound);
    never = client.WaitFuture(client.Enqueue("mail", "a", "").value(), absl::Minutes(1));
  }
  EXPECT_EQ(never.get().status().code(), absl::StatusCode::kCancelled);
}

TEST(FakeClientTest, CallsThatBlockAreRefusedInACallbackAsByTheRealClient) {
  FakeClient client;
  bool called = false;
  client.EnqueueAsync(NewTask{"mail", "a", "x", {}}, [&](absl::StatusOr<EnqueueResult> result) {
    called = true;
    EXPECT_EQ(client.Enqueue("mail", "a", "x").status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(client.GetTask(result->id).status().code(), absl::StatusCode::kFailedPrecondition);
  });
  EXPECT_TRUE(called);
  EXPECT_EQ(client.Enqueued().size(), 1u);
}

TEST(FakeClientTest, ThrottlesAreRememberedAndHoldNothingBack) {
  FakeClient client;
  NewThrottle throttle;
  throttle.name = "api";
  EXPECT_EQ(FieldOf(client.Throttles().Create(throttle).status()), "throttle");
  throttle.max_running = 1;
  ASSERT_TRUE(client.Throttles().Create(throttle).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(client.Throttles().Create(throttle).status()));
  ThrottleChange change;
  change.max_running = 0;
  EXPECT_EQ(FieldOf(client.Throttles().Update("api", change).status()), "throttle");
  change.rate = ThrottleRate{5, absl::Seconds(1), 0};
  ASSERT_TRUE(client.Throttles().Update("api", change).ok());
  EXPECT_EQ(client.Throttles().Get("api")->rate->tasks, 5);
  EXPECT_EQ(client.Throttles().List()->size(), 1);
  EXPECT_TRUE(client.Throttles().Delete("api").ok());
  EXPECT_TRUE(absl::IsNotFound(client.Throttles().Get("api").status()));
}

TEST(FakeClientTest, ListsAndBulkJobsKnowSimpleFilters) {
  FakeClient client;
  const TaskId red = client.Enqueue("mail", "a", "", {.tags = {"red"}}).value();
  const TaskId keyed = client.Enqueue("mail", "a", "", {.key = "k", .group = "g"}).value();
  const TaskId other = client.Enqueue("mail", "b", "").value();
  (void)client.Enqueue("reports", "a", "").value();
  const auto ids = [&](const TaskFilter& filter) {
    std::vector<TaskId> found;
    for (std::string token;;) {
      const auto page = client.ListTasks(filter, 1, token);
      EXPECT_TRUE(page.ok()) << page.status();
      for (const TaskInfo& task : page->tasks) found.push_back(task.id);
      token = page->next_page_token;
      if (token.empty()) return found;
    }
  };
  EXPECT_EQ(ids({.queue = "mail"}), (std::vector<TaskId>{red, keyed, other}));
  EXPECT_EQ(ids({.queue = "mail", .tag = "red"}), std::vector<TaskId>{red});
  EXPECT_EQ(ids({.queue = "mail", .key = "k", .group = "g"}), std::vector<TaskId>{keyed});
  EXPECT_TRUE(absl::IsUnimplemented(client.ListTasks({.queue = "mail", .where = "payload.a"}).status()));

  BulkJobSpec spec;
  spec.filter = {.queue = "mail", .type = "a"};
  spec.dry_run = true;
  EXPECT_EQ(client.Bulk().Start(spec)->matched, 2);
  spec.dry_run = false;
  const auto job = client.Bulk().Start(spec, "once");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->changed, 2);
  EXPECT_EQ(client.GetTask(red)->state, TaskState::kCancelled);
  EXPECT_EQ(client.GetTask(other)->state, TaskState::kAvailable);
  EXPECT_EQ(client.Bulk().Start(spec, "once")->id, job->id);
  EXPECT_EQ(client.Bulk().Wait(job->id, absl::ZeroDuration())->state, BulkJobState::kDone);
  EXPECT_EQ(client.Bulk().List()->size(), 2);
  EXPECT_TRUE(absl::IsFailedPrecondition(client.Bulk().Stop(job->id).status()));
  spec.action = BulkAction::kDelete;
  spec.filter.states = {TaskState::kCancelled};
  EXPECT_EQ(client.Bulk().Start(spec)->changed, 2);
  EXPECT_TRUE(absl::IsNotFound(client.GetTask(red).status()));
  spec.filter.states = {TaskState::kCompleted};
  EXPECT_TRUE(absl::IsFailedPrecondition(client.Bulk().Start(spec).status()));
}

TEST(FakeClientTest, ChangesAreSeenInWhatWasEnqueued) {
  FakeClient client;
  const TaskId id = client
                        .Enqueue("mail", "a", "old",
                                 {.max_attempts = 9,
                                  .expire_at = absl::Now() + absl::Hours(1),
                                  .initial_backoff = absl::Seconds(7),
                                  .headers = {{"trace", "a"}},
                                  .worker_labels = {{"gpu", "yes"}}})
                        .value();
  TaskChange change;
  change.payload = "new";
  change.headers = std::map<std::string, std::string>{{"trace", "b"}};
  change.start_within = absl::Minutes(5);
  change.life_timeout = absl::Hours(2);
  change.retry_policy = TaskRetryPolicy{.max_attempts = 3, .backoff = BackoffKind::kFixed};
  change.worker_labels.emplace();
  change.revision = 0;
  const auto changed = client.UpdateTask(id, change);
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_EQ(changed->revision, 1);
  EXPECT_EQ(client.GetTask(id, true)->payload, "new");
  const EnqueueOptions options = client.Enqueued().at(0).task.options;
  EXPECT_EQ(client.Enqueued().at(0).task.payload, "new");
  EXPECT_EQ(options.headers, (std::map<std::string, std::string>{{"trace", "b"}}));
  EXPECT_EQ(options.start_within, absl::Minutes(5));
  EXPECT_FALSE(options.expire_at.has_value());
  EXPECT_EQ(options.life_timeout, absl::Hours(2));
  EXPECT_EQ(options.max_attempts, 3);
  EXPECT_EQ(options.backoff, BackoffKind::kFixed);
  EXPECT_EQ(options.initial_backoff, absl::ZeroDuration());  // a policy is replaced as a whole
  EXPECT_TRUE(options.worker_labels.empty());

  EXPECT_EQ(client.UpdateTask(id, change).status().code(), absl::StatusCode::kAborted);
  change.revision.reset();
  change.retry_policy->max_attempts = -1;
  EXPECT_EQ(FieldOf(client.UpdateTask(id, change).status()), "max_attempts");
  change.retry_policy.reset();
  change.start_within.reset();
  change.expire_at = absl::Now() + absl::Hours(1);
  EXPECT_EQ(client.UpdateTask(id, change)->revision, 2);
  EXPECT_EQ(client.Enqueued().at(0).task.options.start_within, absl::ZeroDuration());
  client.Complete(id, "done");
  EXPECT_EQ(client.UpdateTask(id, change).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(client.UpdateTask(TaskId(0, 99, 0), change).status().code(), absl::StatusCode::kNotFound);
}

TEST(FakeClientTest, DeletedTasksAreGoneAndWhoWaitsHearsOfIt) {
  FakeClient client;
  const TaskId id = client.Enqueue("mail", "a", "", {.unique_key = "k"}).value();
  auto waiting = client.WaitFuture(id, absl::Minutes(1));
  EXPECT_TRUE(client.DeleteTask(id).ok());
  EXPECT_EQ(waiting.get().status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(client.Enqueued().empty());
  EXPECT_EQ(client.DeleteTask(id).code(), absl::StatusCode::kNotFound);
  const TaskId next = client.Enqueue("mail", "a", "", {.unique_key = "k"}).value();  // the key is free
  EXPECT_NE(next, id);
  client.Complete(next, "done");
  EXPECT_EQ(client.DeleteTask(next).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(FakeClientTest, SchedulesAreRememberedAndRunWhenTheTestSays) {
  FakeClient client;
  NewSchedule schedule;
  schedule.name = "nightly";
  schedule.times = {.cron = "30 2 * * *", .time_zone = "Europe/Berlin"};
  schedule.task = {.queue = "reports", .type = "report.generate", .payload = "{}"};
  const auto made = client.Schedules().Create(schedule);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->next_times.size(), 5);
  EXPECT_TRUE(absl::IsAlreadyExists(client.Schedules().Create(schedule).status()));
  const auto task = client.Schedules().RunNow("nightly");
  ASSERT_TRUE(task.ok()) << task.status();
  ASSERT_EQ(client.EnqueuedOfType("report.generate").size(), 1);
  EXPECT_EQ(client.Enqueued()[0].task.options.headers.at(kScheduleHeader), "nightly");
  EXPECT_EQ(client.Schedules().Get("nightly")->last_task, *task);
  EXPECT_TRUE(client.Schedules().Pause("nightly")->next_times.empty());
  EXPECT_EQ(client.Schedules().Resume("nightly")->next_times.size(), 5);
  ScheduleChange change;
  change.note = "slower";
  EXPECT_EQ(client.Schedules().Update("nightly", change)->note, "slower");
  EXPECT_EQ(client.Schedules().List()->size(), 1);
  EXPECT_TRUE(client.Schedules().Delete("nightly").ok());
  EXPECT_TRUE(absl::IsNotFound(client.Schedules().Get("nightly").status()));
}

TEST(FakeClientTest, SchedulesThatABrokerWouldRefuseAreRefused) {
  FakeClient client;
  NewSchedule schedule;
  schedule.name = "nightly";
  schedule.task = {.queue = "reports", .type = "report.generate"};
  EXPECT_EQ(FieldOf(client.Schedules().Create(schedule).status()), "times");
  schedule.times.cron = "0 0 30 2 *";
  EXPECT_EQ(FieldOf(client.Schedules().Create(schedule).status()), "schedule.times.cron");
  schedule.times = {.cron = "@daily", .time_zone = "Mars/Base"};
  EXPECT_EQ(FieldOf(client.Schedules().Create(schedule).status()), "schedule.times.time_zone");
  EXPECT_TRUE(client.Schedules().List()->empty());
}

TEST(FakeClientTest, SubscribersHearOfWhatTheTestEnds) {
  FakeClient client;
  std::vector<FinishedTask> heard;
  auto subscription =
      client.Subscribe("mail", {.type = "mail.send", .states = {TaskState::kDead, TaskState::kCancelled}},
                       [&](absl::StatusOr<SubscriptionUpdate> update) {
                         ASSERT_TRUE(update.ok());
                         heard.insert(heard.end(), update->tasks.begin(), update->tasks.end());
                       });
  const TaskId done = client.Enqueue("mail", "mail.send", "a").value();
  const TaskId dead = client.Enqueue("mail", "mail.send", "b").value();
  const TaskId other = client.Enqueue("mail", "mail.bounce", "c").value();
  const TaskId elsewhere = client.Enqueue("sms", "mail.send", "d").value();
  const TaskId cancelled = client.Enqueue("mail", "mail.send", "e").value();
  client.Complete(done, "");
  client.Kill(dead, "no");
  client.Kill(other, "no");
  client.Kill(elsewhere, "no");
  ASSERT_TRUE(client.CancelTask(cancelled).ok());
  ASSERT_EQ(heard.size(), 2u);
  EXPECT_EQ(heard[0].id, dead);
  EXPECT_EQ(heard[0].dead_reason, "rejected");
  EXPECT_EQ(heard[1].id, cancelled);
  subscription.reset();
  client.Kill(client.Enqueue("mail", "mail.send", "f").value(), "no");
  EXPECT_EQ(heard.size(), 2u);
}

TEST(FakeClientTest, ExplainsAsTheTestSays) {
  FakeClient client;
  const TaskId task = client.Enqueue("mail", "mail.send", "a").value();
  EXPECT_EQ(client.ExplainTask(task)->state, TaskState::kAvailable);
  TaskExplanation explanation;
  explanation.state = TaskState::kAvailable;
  explanation.reasons.push_back({WaitReason::Code::kQueuePaused, "queue mail is paused"});
  client.SetExplanation(task, explanation);
  EXPECT_EQ(client.ExplainTask(task)->reasons.at(0).text, "queue mail is paused");
  client.Complete(task, "");
  EXPECT_TRUE(client.ExplainTask(task)->reasons.empty());
  EXPECT_TRUE(absl::IsNotFound(client.ExplainTask(TaskId(0, 99, 0)).status()));
}

}  // namespace
}  // namespace penstock
