#include <string>

#include "broker/storage/keys.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

class CoreLifeTest : public ::testing::Test {
 protected:
  // The queue gives up its oldest for new ones when more would wait.
  void DropOldestBeyond(uint64_t max_waiting) {
    QueueCommand limit;
    limit.ticket = driver_.NewTicket();
    limit.queue = "q";
    limit.settings.max_waiting = max_waiting;
    limit.settings.drop_oldest = true;
    Keep(driver_.Step(Command(limit)));
  }
  std::vector<EnqueueResult> Enqueue(NewTask task, int count = 1, RequestId request = {}) {
    EnqueueCommand command;
    command.ticket = driver_.NewTicket();
    command.request_id = request;
    command.tasks.assign(static_cast<size_t>(count), task);
    Effects effects = driver_.Step(Command(command));
    Keep(effects);
    EXPECT_TRUE(effects.replies.at(0).status.ok()) << effects.replies.at(0).status;
    return std::get<EnqueueReply>(effects.replies.at(0).value).results;
  }
  static NewTask Plain(std::string_view queue = "q", std::string_view type = "t") {
    NewTask task;
    task.queue = queue;
    task.type = type;
    task.spec = "spec";
    return task;
  }
  Ticket Connect(uint32_t credit, uint32_t concurrency = 100, std::string id = "secret",
                 std::vector<HeldTask> held = {}, bool resume = false) {
    OpenSessionCommand open;
    open.stream = driver_.NewTicket();
    open.session_id = id;
    open.resume = resume;
    open.worker_name = "worker";
    open.queues = {"q"};
    open.types = {{"t", 0}, {"u", 0}};
    open.concurrency = concurrency;
    open.held_tasks = std::move(held);
    Keep(driver_.Step(Command(open)));
    SessionInput input;
    input.stream = open.stream;
    input.credit = credit;
    Keep(driver_.Step(Command(input)));
    return open.stream;
  }
  Effects Report(Ticket stream, TaskOutcome outcome, bool started = true) {
    SessionInput input;
    input.stream = stream;
    input.frame_number = ++frame_;
    if (started) input.starts.push_back({outcome.task, outcome.token});
    input.outcomes.push_back(outcome);
    Effects effects = driver_.Step(Command(input));
    Keep(effects);
    return effects;
  }
  void Start(Ticket stream, const Delivery& delivery) {
    SessionInput input;
    input.stream = stream;
    input.starts.push_back({delivery.task, delivery.token});
    Keep(driver_.Step(Command(input)));
  }
  static TaskOutcome Outcome(const Delivery& delivery, OutcomeKind kind) {
    TaskOutcome outcome;
    outcome.task = delivery.task;
    outcome.token = delivery.token;
    outcome.kind = kind;
    return outcome;
  }
  void Keep(const Effects& effects) {
    for (const SessionMessage& message : effects.session_messages) {
      for (const Delivery& delivery : message.deliveries) delivered_.push_back(delivery);
      if (message.welcome) welcome_ = *message.welcome;
      for (const Refusal& refusal : message.refusals) refusals_.push_back(refusal);
    }
  }
  QueueView View(const std::string& queue = "q") {
    Effects effects = driver_.Step(Command(StatusCommand{driver_.NewTicket()}));
    for (const QueueView& view : std::get<StatusReply>(effects.replies.at(0).value).queues) {
      if (view.name == queue) return view;
    }
    return {};
  }
  QueueCounters Counters(const std::string& queue = "q") { return View(queue).counters; }

  CoreDriver driver_;
  std::vector<Delivery> delivered_;
  std::vector<Refusal> refusals_;
  SessionWelcome welcome_;
  uint64_t frame_ = 0;
};

TEST_F(CoreLifeTest, EnqueueAndDeliveryAreOneBatch) {
  const Ticket stream = Connect(1);
  const TaskId task = Enqueue(Plain())[0].task;
  ASSERT_EQ(delivered_.size(), 1u);
  EXPECT_EQ(delivered_[0].task, task);
  EXPECT_EQ(delivered_[0].attempt, 1u);
  EXPECT_EQ(delivered_[0].spec, "spec");
  Effects effects = Report(stream, Outcome(delivered_[0], OutcomeKind::kCompleted));
  EXPECT_EQ(effects.session_messages.at(0).acknowledged_frame, 1u);
  EXPECT_EQ(Counters().completed_total, 1u);
  EXPECT_EQ(Counters().running, 0u);
}

TEST_F(CoreLifeTest, RepeatedCompletionIsAlreadyFinishedAndAForgedOneStale) {
  const Ticket stream = Connect(1);
  Enqueue(Plain());
  Report(stream, Outcome(delivered_[0], OutcomeKind::kCompleted));
  Report(stream, Outcome(delivered_[0], OutcomeKind::kCompleted), false);
  ASSERT_EQ(refusals_.size(), 1u);
  EXPECT_EQ(refusals_[0].reason, RefusalReason::kAlreadyFinished);
  Delivery forged = delivered_[0];
  forged.token = FencingToken(7);
  Report(stream, Outcome(forged, OutcomeKind::kCompleted), false);
  EXPECT_EQ(refusals_.at(1).reason, RefusalReason::kStaleLease);
  EXPECT_EQ(Counters().completed_total, 1u);
}

TEST_F(CoreLifeTest, RepeatedRequestReturnsTheSameTasksEvenAfterACrash) {
  auto first = Enqueue(Plain(), 3, {1, 2});
  auto second = Enqueue(Plain(), 3, {1, 2});
  EXPECT_EQ(first[2].task, second[2].task);
  driver_.Crash();
  EXPECT_EQ(Enqueue(Plain(), 3, {1, 2})[1].task, first[1].task);
  EXPECT_EQ(Counters().enqueued_total, 3u);
  driver_.Advance(12 * kMinute);
  EXPECT_NE(Enqueue(Plain(), 3, {1, 2})[1].task, first[1].task) << "the window is over";
}

TEST_F(CoreLifeTest, UniqueKeyIsHeldUntilTheTaskIsFinished) {
  NewTask task = Plain();
  task.unique_key = "k";
  const TaskId first = Enqueue(task)[0].task;
  EnqueueResult second = Enqueue(task)[0];
  EXPECT_TRUE(second.duplicate);
  EXPECT_EQ(second.task, first);
  driver_.Crash();
  EXPECT_TRUE(Enqueue(task)[0].duplicate);
  const Ticket stream = Connect(1);
  Report(stream, Outcome(delivered_.at(0), OutcomeKind::kCompleted));
  EXPECT_FALSE(Enqueue(task)[0].duplicate);
}

TEST_F(CoreLifeTest, WhatATaskDoesNotSayOfItsPolicyIsTheQueues) {
  QueueCommand create;
  create.ticket = driver_.NewTicket();
  create.queue = "q";
  create.settings.retry_policy = RetryPolicy{.max_attempts = 7, .initial_backoff = 10 * kSecond, .jitter = 1};
  driver_.Step(Command(create));
  NewTask task = Plain();
  task.retry_change.jitter = 0;
  const Ticket stream = Connect(10);
  Enqueue(task);
  EXPECT_EQ(delivered_[0].max_attempts, 7u);
  Report(stream, Outcome(delivered_[0], OutcomeKind::kFailed));
  Keep(driver_.Advance(9 * kSecond));
  EXPECT_EQ(delivered_.size(), 1u);
  Keep(driver_.Advance(2 * kSecond));
  EXPECT_EQ(delivered_.size(), 2u) << "ten seconds, without jitter";
}

TEST(RetryPolicyChangeTest, LongerInitialBackoffRaisesTheMaximum) {
  RetryPolicyChange change;
  EXPECT_TRUE(change.empty());
  change.initial_backoff = 2 * kHour;
  EXPECT_FALSE(change.empty());
  EXPECT_EQ(change.On(RetryPolicy()), (RetryPolicy{.initial_backoff = 2 * kHour, .max_backoff = 2 * kHour}));
}

TEST_F(CoreLifeTest, RequestIdOfAnotherRequestIsRefused) {
  EnqueueCommand command;
  command.ticket = driver_.NewTicket();
  command.request_id = {1, 2};
  command.content_hash = 11;
  command.tasks = {Plain()};
  ASSERT_TRUE(driver_.Step(Command(command)).replies.at(0).status.ok());
  const Effects again = driver_.Step(Command(command));
  EXPECT_TRUE(again.replies.at(0).status.ok()) << "the same request, repeated";
  command.content_hash = 12;
  const absl::Status status = driver_.Step(Command(command)).replies.at(0).status;
  EXPECT_EQ(FieldOf(status), "request_id") << status;
  EXPECT_EQ(Counters().available, 1u);
}

TEST_F(CoreLifeTest, AFullQueueTakesNoMoreThanItHoldsWhateverItGivesUp) {
  DropOldestBeyond(2);
  NewTask unique = Plain();
  unique.unique_key = "k";
  Enqueue(unique);
  // With the one that has the key there would be three; if that is given up, the key is free, and there are three.
  EnqueueCommand three;
  three.ticket = driver_.NewTicket();
  three.tasks = {Plain(), Plain(), unique};
  const absl::Status status = driver_.Step(Command(three)).replies.at(0).status;
  EXPECT_EQ(LimitOf(status), "max_waiting") << status;
  EXPECT_EQ(Counters().available, 1u);
  EXPECT_EQ(Counters().dead, 0u);
  EnqueueCommand two;
  two.ticket = driver_.NewTicket();
  two.tasks = {Plain(), unique};
  EXPECT_TRUE(driver_.Step(Command(two)).replies.at(0).status.ok());
  EXPECT_EQ(Counters().available, 2u);
}

TEST_F(CoreLifeTest, AFullQueueKeepsItsLimitWhenWhatItGivesUpFreesKeyAfterKey) {
  DropOldestBeyond(3);
  NewTask a = Plain();
  a.unique_key = "a";
  NewTask b = Plain();
  b.unique_key = "b";
  Enqueue(a);
  Enqueue(b);
  Enqueue(Plain());
  EnqueueCommand three;
  three.ticket = driver_.NewTicket();
  three.tasks = {a, b, Plain()};
  EXPECT_TRUE(driver_.Step(Command(three)).replies.at(0).status.ok());
  EXPECT_EQ(Counters().available, 3u);
  EXPECT_EQ(Counters().dead, 3u);
}

TEST_F(CoreLifeTest, AFullQueueGivesUpNothingWhereThatWouldNotBeEnough) {
  DropOldestBeyond(3);
  NewTask later = Plain();
  later.run_at = driver_.now().wall + kHour;
  Enqueue(later);
  Enqueue(later);
  NewTask a = Plain();
  a.unique_key = "a";
  Enqueue(a);
  // To make room the one with the key would be given up, and its key be free for a third.
  EnqueueCommand two;
  two.ticket = driver_.NewTicket();
  two.tasks = {a, Plain()};
  EXPECT_EQ(LimitOf(driver_.Step(Command(two)).replies.at(0).status), "max_waiting");
  EXPECT_EQ(Counters().scheduled, 2u);
  EXPECT_EQ(Counters().available, 1u);
}

TEST_F(CoreLifeTest, FailedAttemptsBackOffAndDieWithTheirReason) {
  NewTask task = Plain();
  task.retry_policy = RetryPolicy{.max_attempts = 2, .initial_backoff = 10 * kSecond, .jitter = 0};
  const Ticket stream = Connect(10);
  Enqueue(task);
  Report(stream, Outcome(delivered_[0], OutcomeKind::kFailed));
  EXPECT_EQ(Counters().retryable, 1u);
  Keep(driver_.Advance(9 * kSecond));
  EXPECT_EQ(delivered_.size(), 1u) << "never early";
  Keep(driver_.Advance(2 * kSecond));
  ASSERT_EQ(delivered_.size(), 2u);
  EXPECT_EQ(delivered_[1].attempt, 2u);
  EXPECT_GT(delivered_[1].token, delivered_[0].token);
  Report(stream, Outcome(delivered_[1], OutcomeKind::kFailed));
  EXPECT_EQ(Counters().dead, 1u);
  // Redriven, its attempts are counted from 0.
  DeadTasksCommand redrive;
  redrive.ticket = driver_.NewTicket();
  redrive.queue = "q";
  Keep(driver_.Step(Command(redrive)));
  ASSERT_EQ(delivered_.size(), 3u);
  EXPECT_EQ(delivered_[2].attempt, 3u);
  EXPECT_EQ(delivered_[2].max_attempts, 4u);
  Report(stream, Outcome(delivered_[2], OutcomeKind::kFailed));
  EXPECT_EQ(Counters().retryable, 1u);
}

TEST_F(CoreLifeTest, BrokenSessionGivesBackAfterItsGraceWithoutAnAttemptForWhatDidNotStart) {
  const Ticket stream = Connect(2);
  Enqueue(Plain(), 2);
  Start(stream, delivered_.at(0));
  driver_.Step(Command(SessionBroken{stream}));
  Keep(driver_.Advance(2 * kSecond));
  EXPECT_EQ(Counters().running, 2u);
  Keep(driver_.Advance(2 * kSecond));
  EXPECT_EQ(Counters().available, 2u);
  Connect(2, 100, "other");
  ASSERT_EQ(delivered_.size(), 4u);
  std::map<TaskId, uint32_t> attempts;
  for (size_t i = 2; i < 4; ++i) attempts[delivered_[i].task] = delivered_[i].attempt;
  EXPECT_EQ(attempts[delivered_[0].task], 2u) << "started: lost";
  EXPECT_EQ(attempts[delivered_[1].task], 1u) << "not started: given back";
}

TEST_F(CoreLifeTest, ReleasedTaskWaitsWhereItStoodStartedOrNot) {
  NewTask delayed = Plain();
  delayed.run_at = driver_.now().wall + kHour;
  Enqueue(delayed, 2);
  driver_.Advance(kHour + kMinute);
  const Ticket stream = Connect(2);
  ASSERT_EQ(delivered_.size(), 2u);
  Start(stream, delivered_[0]);
  for (int i = 0; i < 2; ++i) {
    Report(stream, Outcome(delivered_[static_cast<size_t>(i)], OutcomeKind::kReleased), false);
    EXPECT_EQ(View().oldest_available, delayed.run_at);
  }
  EXPECT_EQ(Counters().available, 2u);
}

TEST_F(CoreLifeTest, CompletedTaskCanNeitherBeCancelledNorRetried) {
  const TaskId task = Enqueue(Plain()).at(0).task;
  const Ticket stream = Connect(1);
  Report(stream, Outcome(delivered_.at(0), OutcomeKind::kCompleted));
  Effects effects = driver_.Step(Command(CancelTaskCommand{driver_.NewTicket(), task, "too late"}));
  EXPECT_EQ(effects.replies.at(0).status.code(), absl::StatusCode::kFailedPrecondition);
  effects = driver_.Step(Command(RetryTaskCommand{driver_.NewTicket(), task}));
  EXPECT_EQ(effects.replies.at(0).status.code(), absl::StatusCode::kFailedPrecondition);
  effects = driver_.Step(Command(RetryTaskCommand{driver_.NewTicket(), TaskId(0, task.block(), task.slot() + 1)}));
  EXPECT_EQ(effects.replies.at(0).status.code(), absl::StatusCode::kNotFound);
}

// Enqueues a task and has it delivered, in a life of the data that starts at `wall`.
std::pair<TaskId, FencingToken> FirstTaskOf(MemoryStore& store, Time wall) {
  auto core = BrokerCore::Recover({}, store, {wall, 0});
  EXPECT_TRUE(core.ok()) << core.status();
  std::vector<Command> commands;
  EnqueueCommand enqueue;
  enqueue.ticket = Ticket(1);
  enqueue.tasks.resize(1);
  enqueue.tasks[0].queue = "q";
  enqueue.tasks[0].type = "t";
  commands.push_back(enqueue);
  OpenSessionCommand open;
  open.stream = Ticket(2);
  open.session_id = std::to_string(wall);
  open.queues = {"q"};
  open.types = {{"t", 0}};
  open.concurrency = 1;
  commands.push_back(open);
  SessionInput input;
  input.stream = open.stream;
  input.credit = 1;
  commands.push_back(input);
  CoreBatch batch = (*core)->Step(absl::MakeSpan(commands), {wall, 0});
  EXPECT_TRUE(store.Commit(batch.writes, true).ok());
  for (const SessionMessage& message : batch.effects.session_messages) {
    if (message.stream == open.stream && !message.deliveries.empty()) {
      return {std::get<EnqueueReply>(batch.effects.replies.at(0).value).results.at(0).task,
              message.deliveries.at(0).token};
    }
  }
  ADD_FAILURE() << "nothing was delivered";
  return {};
}

TEST(RestoredBackupTest, NeverRepeatsIdsAndTokensOfTheLifeThatWasLost) {
  const Time wall = 1'800'000'000 * kSecond;
  // The backup was made before the first task. Its original was started again and again afterwards.
  MemoryStore original;
  std::pair<TaskId, FencingToken> last = {};
  for (int start = 0; start < 5; ++start) {
    const auto next = FirstTaskOf(original, wall + start * kSecond);
    EXPECT_GT(next.first, last.first);
    EXPECT_GT(next.second, last.second);
    last = next;
  }
  MemoryStore backup;
  const auto restored = FirstTaskOf(backup, wall + 30 * kMinute);
  EXPECT_GT(restored.first, last.first);
  EXPECT_GT(restored.second, last.second);
}

TEST_F(CoreLifeTest, TimesCountFromAvailableToStartAndWhatWorkersMeasured) {
  NewTask delayed = Plain();
  delayed.run_at = driver_.now().wall + kHour;
  Enqueue(delayed);
  Enqueue(Plain(), 2);
  driver_.Advance(20 * kMilli);
  const Ticket stream = Connect(2);
  for (const Delivery& delivery : delivered_) Start(stream, delivery);
  TaskOutcome outcome = Outcome(delivered_.at(0), OutcomeKind::kCompleted);
  outcome.run_time = 3 * kMilli;
  Report(stream, outcome);
  QueueTimes times = View().times;
  EXPECT_EQ(times.wait.counts[4], 2u) << "20 ms are above 10 ms and not above 25 ms";
  EXPECT_EQ(times.wait.sum, 40 * kMilli);
  EXPECT_EQ(times.run.counts[2], 1u);
  EXPECT_EQ(times.run.sum, 3 * kMilli);
  EXPECT_EQ(times.attempts_lost, 0u);
  // The other one is lost with its worker and waits again; the delayed one has waited since it was due.
  driver_.Step(Command(SessionBroken{stream}));
  driver_.Advance(4 * kSecond);
  EXPECT_EQ(View().times.attempts_lost, 1u);
  driver_.Advance(kHour - 20 * kMilli - 4 * kSecond);
  const Ticket other = Connect(2, 100, "other");
  ASSERT_EQ(delivered_.size(), 4u);
  for (size_t i = 2; i < 4; ++i) Start(other, delivered_[i]);
  times = View().times;
  EXPECT_EQ(times.wait.counts[0], 1u) << "not a moment since it was due";
  EXPECT_EQ(times.wait.counts.back() + times.wait.counts[times.wait.counts.size() - 2], 1u) << "about an hour";
}

TEST_F(CoreLifeTest, ResumedSessionKeepsItsTasksAndCompletesOnceAfterACrash) {
  const Ticket stream = Connect(2);
  Enqueue(Plain(), 2);
  Start(stream, delivered_.at(0));
  driver_.Crash();
  driver_.Advance(20 * kSecond);
  EXPECT_EQ(Counters().running, 2u) << "within the reclaim window";
  const Ticket again = Connect(0, 100, "secret", {{delivered_[0].task, delivered_[0].token, true}}, true);
  EXPECT_TRUE(welcome_.resumed);
  EXPECT_TRUE(welcome_.lost_tasks.empty());
  EXPECT_EQ(Counters().running, 1u) << "what the worker does not hold went back";
  Report(again, Outcome(delivered_[0], OutcomeKind::kCompleted), false);
  EXPECT_EQ(Counters().completed_total, 1u);
}

TEST_F(CoreLifeTest, SessionThatDoesNotComeBackLosesItsTasksAfterTheReclaimWindow) {
  Connect(1);
  Enqueue(Plain());
  driver_.Crash();
  Keep(driver_.Advance(31 * kSecond));
  EXPECT_EQ(Counters().available, 1u);
}

TEST_F(CoreLifeTest, TenThousandTasksDueInTheSameSecondAreReleasedAsTheyAreTaken) {
  NewTask task = Plain();
  task.delay = 20 * kSecond;
  Enqueue(task, 5'000);
  Enqueue(task, 5'000);
  EXPECT_EQ(Counters().scheduled, 10'000u);
  Connect(500, 1'000);
  Keep(driver_.Advance(19 * kSecond));
  EXPECT_TRUE(delivered_.empty());
  Keep(driver_.Advance(kSecond));
  EXPECT_EQ(delivered_.size(), 500u);
  EXPECT_EQ(Counters().available, 9'500u);
  EXPECT_EQ(driver_.core().DebugState(), driver_.RecoveredState());
}

TEST_F(CoreLifeTest, UrgentTasksComeFirstButOneInSixteenIsALowerPriority) {
  NewTask low = Plain(), high = Plain();
  low.priority = 1;
  high.priority = 9;
  const auto lows = Enqueue(low, 10);
  Enqueue(high, 100);
  Connect(64, 1'000);
  ASSERT_EQ(delivered_.size(), 64u);
  std::set<TaskId> low_ids;
  for (const EnqueueResult& result : lows) low_ids.insert(result.task);
  int run = 0, lower = 0;
  for (const Delivery& delivery : delivered_) {
    if (low_ids.contains(delivery.task)) {
      ++lower;
      run = 0;
    } else {
      ASSERT_LE(++run, 15);
    }
  }
  EXPECT_EQ(lower, 4);
}

TEST_F(CoreLifeTest, FewTasksAreSpreadOverIdleWorkers) {
  const Ticket first = Connect(8, 4, "s1");
  const Ticket second = Connect(8, 4, "s2");
  EnqueueCommand command;
  command.ticket = driver_.NewTicket();
  command.tasks.assign(4, Plain());
  Effects effects = driver_.Step(Command(command));
  std::map<Ticket, size_t> given;
  for (const SessionMessage& message : effects.session_messages) given[message.stream] += message.deliveries.size();
  EXPECT_EQ(given[first], 2u);
  EXPECT_EQ(given[second], 2u);
}

TEST_F(CoreLifeTest, ExpiredTaskDiesWithoutBeingDelivered) {
  NewTask task = Plain();
  task.expire_at = driver_.now().wall + 10 * kSecond;
  Enqueue(task, 3);
  driver_.Advance(11 * kSecond);
  EXPECT_EQ(Counters().dead, 3u);
  EXPECT_EQ(Counters().available, 0u);
  Connect(5);
  EXPECT_TRUE(delivered_.empty());
}

TEST_F(CoreLifeTest, CancelledWaitingTaskNeverStarts) {
  auto tasks = Enqueue(Plain(), 3);
  driver_.Step(Command(CancelTaskCommand{driver_.NewTicket(), tasks[1].task, "no"}));
  EXPECT_EQ(Counters().available, 2u);
  Connect(5);
  ASSERT_EQ(delivered_.size(), 2u);
  EXPECT_EQ(delivered_[1].task, tasks[2].task);
  EXPECT_EQ(Counters().cancelled_total, 1u);
}

TEST_F(CoreLifeTest, PurgedTasksAreGoneAndTheirBlocksCleared) {
  Enqueue(Plain(), 50);
  NewTask later = Plain();
  later.delay = kMinute;
  Enqueue(later, 50);
  QueueCommand purge;
  purge.ticket = driver_.NewTicket();
  purge.verb = QueueVerb::kPurge;
  purge.queue = "q";
  Effects effects = driver_.Step(Command(purge));
  EXPECT_EQ(std::get<QueueReply>(effects.replies.at(0).value).purged, 100u);
  Connect(200);
  driver_.Advance(2 * kMinute);
  EXPECT_TRUE(delivered_.empty());
  int blocks = 0;
  ASSERT_TRUE(driver_.store().Scan(Family::kBlocks, "", "", [&](auto, auto) { return ++blocks > 0; }).ok());
  EXPECT_EQ(blocks, 0);
  EXPECT_EQ(driver_.core().DebugState(), driver_.RecoveredState());
}

TEST_F(CoreLifeTest, LongLaneSpillsAndComesBack) {
  for (int i = 0; i < 1'500; ++i) Enqueue(Plain());
  EXPECT_EQ(driver_.core().DebugState(), driver_.RecoveredState());
  driver_.Crash();
  const Ticket stream = Connect(1'000, 1'000);
  while (delivered_.size() < 1'500) {
    SessionInput input;
    input.stream = stream;
    input.frame_number = ++frame_;
    input.credit = 200;
    const size_t before = delivered_.size();
    static size_t reported = 0;
    for (; reported < before; ++reported)
      input.outcomes.push_back(Outcome(delivered_[reported], OutcomeKind::kCompleted));
    Keep(driver_.Step(Command(input)));
    ASSERT_GT(delivered_.size(), before);
  }
  for (size_t i = 1; i < delivered_.size(); ++i) ASSERT_GT(delivered_[i].task, delivered_[i - 1].task) << "in order";
  EXPECT_EQ(driver_.core().DebugState(), driver_.RecoveredState());
}

TEST_F(CoreLifeTest, WatcherHearsTheEndWithTheResult) {
  const Ticket stream = Connect(1);
  NewTask task = Plain();
  task.result_retention = 0;
  const TaskId id = Enqueue(task)[0].task;
  driver_.Step(Command(WatchTaskCommand{driver_.NewTicket(), id, true}));
  TaskOutcome outcome = Outcome(delivered_.at(0), OutcomeKind::kCompleted);
  outcome.result = "r";
  Effects effects = Report(stream, outcome);
  ASSERT_EQ(effects.watch_events.size(), 1u);
  EXPECT_EQ(effects.watch_events[0].snapshot.state, State::kCompleted);
  EXPECT_EQ(effects.watch_events[0].snapshot.result, "r");
}

TEST_F(CoreLifeTest, HalfDeadBlockIsCompacted) {
  NewTask task = Plain();
  const std::string spec(1'000, 's');
  task.spec = spec;
  const Ticket stream = Connect(100);
  Enqueue(task, 20);
  for (size_t i = 0; i < 15; ++i) Report(stream, Outcome(delivered_.at(i), OutcomeKind::kCompleted));
  driver_.Advance(2 * kMinute);
  int blocks = 0;
  ASSERT_TRUE(driver_.store().Scan(Family::kBlocks, "", "", [&](auto, auto) { return ++blocks > 0; }).ok());
  EXPECT_EQ(blocks, 0) << "rewritten without what is done";
  EXPECT_EQ(driver_.core().DebugState(), driver_.RecoveredState());
  driver_.Crash();
  Keep(driver_.Advance(31 * kSecond));
  delivered_.clear();
  Connect(100, 100, "other");
  ASSERT_EQ(delivered_.size(), 5u);
  EXPECT_EQ(delivered_[0].spec, spec);
}

TEST_F(CoreLifeTest, ADamagedUniqueKeyIsNotGivenAwayAgain) {
  NewTask task = Plain();
  task.unique_key = "key";
  const TaskId first = Enqueue(task).at(0).task;
  const std::string key = Keys(0).Unique(QueueId(1), "key");
  std::string stored = driver_.store().Get(Family::kIndex, key).value();
  stored.back() = static_cast<char>(stored.back() ^ 1);
  CommitBatch damage;
  damage.Put(Family::kIndex, key, stored);
  ASSERT_TRUE(driver_.store().Commit(damage, true).ok());
  driver_.Crash();
  EnqueueCommand command;
  command.ticket = driver_.NewTicket();
  command.tasks = {task};
  const Effects effects = driver_.Step(Command(command));
  EXPECT_EQ(effects.replies.at(0).status.code(), absl::StatusCode::kDataLoss) << first.ToString();
  EXPECT_THAT(std::string(effects.replies.at(0).status.message()),
              ::testing::HasSubstr("the unique key key of queue q"));
}

}  // namespace
}  // namespace penstock::broker
