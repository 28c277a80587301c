#include "broker/engine/engine.h"

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/broker/engine/engine_fixture.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(EngineTest, EveryCommandOfManyProducersIsAnsweredOnceAndAcknowledgedTasksAreInTheStore) {
  constexpr size_t kThreads = 4, kEach = 250;
  StartEngine();
  std::vector<std::vector<Ticket>> enqueues(kThreads), reads(kThreads);
  std::vector<std::thread> producers;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    producers.emplace_back([&, thread] {
      for (size_t i = 0; i < kEach; ++i) {
        enqueues[thread].push_back(Enqueue(std::to_string(thread) + "-" + std::to_string(i)));
        if (i % 10 != 0) continue;
        reads[thread].push_back(NewTicket());
        EXPECT_TRUE(Post(StatusCommand{reads[thread].back()}).ok());
      }
    });
  }
  for (std::thread& producer : producers) producer.join();
  std::set<TaskId> acknowledged;
  std::set<Ticket> asked;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    TaskId last;
    for (Ticket ticket : enqueues[thread]) {
      const EffectRecorder::Answer answer = answers_.Await(ticket);
      ASSERT_TRUE(answer.reply.status.ok()) << answer.reply.status;
      EXPECT_EQ(answer.commits, answer.durable_commits);
      const TaskId task = std::get<EnqueueReply>(answer.reply.value).results.at(0).task;
      EXPECT_LT(last, task) << "not in the order of the thread";
      last = task;
      acknowledged.insert(task);
      asked.insert(ticket);
    }
    for (Ticket ticket : reads[thread]) {
      EXPECT_TRUE(StatusOf(ticket).ok());
      asked.insert(ticket);
    }
  }
  engine().Stop();
  const std::vector<Ticket> order = answers_.order();
  EXPECT_EQ(order.size(), asked.size());
  EXPECT_EQ(std::set<Ticket>(order.begin(), order.end()), asked);
  EXPECT_EQ(acknowledged.size(), kThreads * kEach);
  EXPECT_EQ(RecoveredTasks(kThreads * kEach), acknowledged);
}

// Every look at it takes a while, as on a machine that is too slow for its load.
class SlowClock : public Clock {
 public:
  Now Read() const override {
    clock_.Advance(absl::Milliseconds(40));
    return clock_.Read();
  }

 private:
  mutable ManualClock clock_;
};

TEST_F(EngineTest, LeaseDoesNotRunOutWhileWhatTheWorkerSentWaitsInTheMailbox) {
  SlowClock clock;
  options_.core.lease = 10 * kSecond;
  options_.batch_bytes = 1;  // a command a batch
  StartEngineBy(clock);
  const Ticket stream = Connect(1);
  EnqueueAndWait("task");
  const EffectRecorder::Delivered delivered = answers_.AwaitDeliveries(1).at(0);
  FillPipeline();
  // Each takes the engine some 200 ms: together much more than the lease.
  // What another worker said, which is long gone.
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Post(SessionInput()).ok());
  ASSERT_TRUE(Post(Completion(stream, delivered)).ok());
  const Ticket last = Enqueue("after the completion");
  store_.Open();
  EXPECT_TRUE(StatusOf(last).ok());
  EXPECT_EQ(Counters().completed_total, 1u);
  // The lease does run out when nothing is heard any more.
  while (!Status().workers.empty()) {
  }
  engine().Stop();
}

TEST_F(EngineTest, NothingIsAnsweredBeforeItsCommitIsDurable) {
  StartEngine();
  EnqueueAndWait("first");
  const std::vector<Ticket> tickets = FillPipeline();
  EXPECT_EQ(answers_.order().size(), 2u) << "more is answered than the first task and the fixture's own question";
  const size_t commits = store_.commits();
  store_.Open();
  for (size_t i = 0; i < tickets.size(); ++i) {
    const EffectRecorder::Answer answer = answers_.Await(tickets[i]);
    EXPECT_EQ(answer.durable_commits, commits + i + 1) << "released with another commit than its own";
    EXPECT_TRUE(answer.reply.status.ok());
  }
}

TEST_F(EngineTest, WorkersGetATaskOnlyWhenItsDeliveryIsDurable) {
  StartEngine();
  Connect(10);
  Status();
  store_.Hold();
  const Ticket ticket = Enqueue("letter");
  store_.AwaitHeld();
  EXPECT_THAT(answers_.deliveries(), IsEmpty());
  store_.Open();
  EXPECT_EQ(answers_.AwaitDeliveries(1)[0].spec, "letter");
  EXPECT_TRUE(StatusOf(ticket).ok());
}

TEST_F(EngineTest, WhileABatchIsWrittenTheNextOnesAreApplied) {
  StartEngine();
  // Returns only if the engine takes and applies two batches more while the first is at the gate.
  const std::vector<Ticket> tickets = FillPipeline();
  const size_t answered = answers_.order().size();
  EXPECT_EQ(answered, 1u) << "more is answered than the fixture's own question";
  store_.Open();
  StatusOf(tickets.back()).IgnoreError();
  const std::vector<Ticket> order = answers_.order();
  EXPECT_EQ(std::vector<Ticket>(order.begin() + 1, order.end()), tickets);
}

TEST_F(EngineTest, FewCommandsWaitForTheCommitUnderWayAndShareTheNext) {
  StartEngine();
  Status();
  store_.Hold();
  const Ticket first = Enqueue("written");
  store_.AwaitHeld();
  std::vector<Ticket> tickets;
  for (int i = 0; i < 50; ++i) {
    tickets.push_back(Enqueue(std::to_string(i)));
    std::this_thread::yield();  // time for the engine to take it, if it would
  }
  store_.Open();
  const EffectRecorder::Answer ahead = answers_.Await(first);
  for (Ticket ticket : tickets) EXPECT_EQ(answers_.Await(ticket).commits, ahead.commits + 1);
}

TEST_F(EngineTest, CommandsThatWaitShareOneCommit) {
  constexpr int kWaiting = 200;
  StartEngine();
  const std::vector<Ticket> ahead = FillPipeline();
  std::vector<Ticket> tickets;
  for (int i = 0; i < kWaiting; ++i) tickets.push_back(Enqueue(std::to_string(i)));
  store_.Open();
  const EffectRecorder::Answer last_ahead = answers_.Await(ahead.back());
  for (Ticket ticket : tickets) {
    const EffectRecorder::Answer answer = answers_.Await(ticket);
    EXPECT_TRUE(answer.reply.status.ok());
    EXPECT_EQ(answer.release, last_ahead.release + 1);
    EXPECT_EQ(answer.commits, last_ahead.commits + 1);
  }
}

TEST_F(EngineTest, ABatchTakesNoMoreBytesThanItsLimit) {
  options_.batch_bytes = 10'000;
  StartEngine();
  FillPipeline();
  std::vector<Ticket> tickets;
  for (int i = 0; i < 10; ++i) {
    tickets.push_back(NewTicket());
    ASSERT_TRUE(Post(Task(tickets.back(), "x"), 4'900).ok());
  }
  store_.Open();
  // Two at a time, with what each costs the mailbox.
  const size_t first = answers_.Await(tickets[0]).release;
  for (size_t i = 0; i < tickets.size(); ++i) EXPECT_EQ(answers_.Await(tickets[i]).release, first + i / 2);
}

TEST_F(EngineTest, RelaxedQueueAnswersBeforeTheSyncWhichFollowsByItself) {
  StartEngine();
  QueueCommand create;
  create.ticket = NewTicket();
  create.queue = "metrics";
  create.settings.relaxed = true;
  const Ticket created = create.ticket;
  ASSERT_TRUE(Post(std::move(create)).ok());
  ASSERT_TRUE(StatusOf(created).ok());
  EnqueueAndWait("makes the type", "metrics");
  store_.HoldSyncs();
  const EffectRecorder::Answer answer = answers_.Await(Enqueue("sample", "metrics"));
  EXPECT_TRUE(answer.reply.status.ok()) << answer.reply.status;
  EXPECT_LT(answer.durable_commits, answer.commits);
  store_.AwaitHeld();
  const size_t syncs = store_.syncs();
  store_.Open();
  store_.AwaitSyncs(syncs + 1);
  EXPECT_EQ(store_.durable_commits(), store_.commits());
}

TEST_F(EngineTest, StrictEnqueueIsSyncedThoughRelaxedOnesShareItsBatch) {
  StartEngine();
  QueueCommand create;
  create.ticket = NewTicket();
  create.queue = "metrics";
  create.settings.relaxed = true;
  const Ticket created = create.ticket;
  ASSERT_TRUE(Post(std::move(create)).ok());
  ASSERT_TRUE(StatusOf(created).ok());
  FillPipeline();
  const Ticket relaxed = Enqueue("sample", "metrics");
  const Ticket strict = Enqueue("letter");
  store_.Open();
  const EffectRecorder::Answer answer = answers_.Await(strict);
  EXPECT_EQ(answer.durable_commits, answer.commits);
  EXPECT_EQ(answers_.Await(relaxed).release, answer.release);
}

TEST_F(EngineTest, FullMailboxRefusesEnqueuesByNameTakesOthersAndSaysWhenThereIsRoom) {
  options_.mailbox.bytes = 10'000;
  StartEngine();
  FillPipeline();
  std::vector<Ticket> taken;
  absl::Status refused;
  while (refused.ok()) {
    const Ticket ticket = NewTicket();
    refused = Post(Task(ticket, "x"), 1'000);
    if (refused.ok()) taken.push_back(ticket);
  }
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(LimitOf(refused), "limits.mailbox");
  EXPECT_LE(engine().mailbox_bytes(), options_.mailbox.bytes);
  EXPECT_TRUE(Post(SessionInput(), 1'000).ok()) << "completions must not wait behind enqueues";
  Mutex mu;
  CondVar changed;
  int calls = 0;
  engine().WhenRoom([&] {
    MutexLock lock(mu);
    ++calls;
    changed.SignalAll();
  });
  {
    MutexLock lock(mu);
    EXPECT_EQ(calls, 0);
  }
  store_.Open();
  {
    MutexLock lock(mu);
    while (calls == 0) changed.Wait(mu);
  }
  for (Ticket ticket : taken) EXPECT_TRUE(StatusOf(ticket).ok());
  EXPECT_TRUE(StatusOf(Enqueue("again")).ok());
  MutexLock lock(mu);
  EXPECT_EQ(calls, 1);
}

TEST_F(EngineTest, ACommandWhoseCallerWaitsNoMoreIsAnsweredAndNotApplied) {
  StartEngine();
  EnqueueAndWait("first");
  const std::vector<Ticket> before = FillPipeline();
  const Ticket hasty = NewTicket();
  ASSERT_TRUE(engine().Post(Task(hasty, "hasty"), 200, absl::Seconds(1)).ok());
  const Ticket patient = NewTicket();
  ASSERT_TRUE(engine().Post(Task(patient, "patient"), 200, absl::Hours(1)).ok());
  clock_.Advance(absl::Seconds(2));
  store_.Open();
  EXPECT_TRUE(absl::IsDeadlineExceeded(StatusOf(hasty)));
  EXPECT_TRUE(StatusOf(patient).ok());
  EXPECT_EQ(Counters().enqueued_total, 2 + before.size());
}

TEST_F(EngineTest, CompletionsOvertakeEnqueues) {
  options_.batch_bytes = 1;  // a command a batch
  StartEngine();
  const Ticket stream = Connect(1);
  EnqueueAndWait("task");
  const EffectRecorder::Delivered delivered = answers_.AwaitDeliveries(1).at(0);
  FillPipeline();
  const Ticket before = Enqueue("before the completion");
  ASSERT_TRUE(Post(Completion(stream, delivered)).ok());
  const Ticket asked = NewTicket();
  ASSERT_TRUE(Post(StatusCommand{asked}).ok());
  store_.Open();
  const EffectRecorder::Answer answer = answers_.Await(asked);
  EXPECT_EQ(std::get<StatusReply>(answer.reply.value).queues.at(0).counters.completed_total, 1u);
  EXPECT_LT(answer.release, answers_.Await(before).release);
}

TEST_F(EngineTest, AClockMovedByHandMakesTasksDueAtOnce) {
  StartEngine();
  Connect(1);
  EnqueueCommand command = Task(NewTicket(), "tomorrow");
  command.tasks[0].delay = 24 * 3'600 * kSecond;
  const Ticket ticket = command.ticket;
  ASSERT_TRUE(Post(std::move(command)).ok());
  ASSERT_TRUE(StatusOf(ticket).ok());
  EXPECT_THAT(answers_.deliveries(), IsEmpty());
  clock_.Advance(absl::Hours(24));
  engine().LookAtClock();
  EXPECT_EQ(answers_.AwaitDeliveries(1)[0].spec, "tomorrow");
}

TEST_F(EngineTest, AfterStopDispatchNothingIsHandedOutAndTheRestGoesOn) {
  StartEngine();
  const Ticket stream = Connect(10);
  EnqueueAndWait("running");
  const EffectRecorder::Delivered delivered = answers_.AwaitDeliveries(1)[0];
  engine().StopDispatch();
  engine().StopDispatch();
  EnqueueAndWait("waits");
  ASSERT_TRUE(Post(Completion(stream, delivered)).ok());
  const QueueCounters counters = Counters();
  EXPECT_EQ(counters.completed_total, 1u);
  EXPECT_EQ(counters.available, 1u);
  EXPECT_EQ(answers_.deliveries().size(), 1u);
}

TEST_F(EngineTest, EachStartHasANewEpochThatIsDurableBeforeAnythingIsAnswered) {
  StartEngine();
  EXPECT_EQ(engine().epoch(), 1u);
  EXPECT_EQ(Status().epoch, 1u);
  EXPECT_GE(store_.durable_commits(), 1u);
  engine().Stop();
  StartEngine();
  EXPECT_EQ(engine().epoch(), 2u);
  EXPECT_EQ(Status().epoch, 2u);
}

}  // namespace
}  // namespace penstock::broker
