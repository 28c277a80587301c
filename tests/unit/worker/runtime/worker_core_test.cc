#include "worker/worker_core.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr absl::Duration kStart = absl::Seconds(1'000);

TaskId Task(uint32_t n) { return TaskId(0, 1, n); }

TaskDelivery Delivery(uint32_t n, std::string type = "t") {
  TaskDelivery task;
  task.id = Task(n);
  task.fencing_token = 100 + n;
  task.type = std::move(type);
  task.run_timeout = absl::Minutes(1);
  return task;
}

class WorkerCoreTest : public ::testing::Test {
 protected:
  WorkerCoreTest() : core_(MakeOptions()) { core_.OnWelcome(false, absl::Seconds(30), {}, {}, kStart); }
  static WorkerCore::Options MakeOptions() {
    WorkerCore::Options options;
    options.concurrency = 2;
    options.prefetch = 1;
    options.prefetch_most = 100;
    options.type_limits = {{"limited", 1}};
    options.batch_waits = {{"batch", absl::Seconds(5)}};
    return options;
  }
  WorkerCore::Frame Frame(absl::Duration now = kStart) { return core_.BuildFrame(now, 1 << 20); }
  bool Deliver(const TaskDelivery& task, absl::Duration now = kStart) { return core_.OnDelivery(task, now, &cancels_); }
  void Run(uint32_t n, absl::Duration now = kStart) {
    ASSERT_TRUE(Deliver(Delivery(n)));
    ASSERT_TRUE(core_.OnStart(Task(n), 100 + n, now));
  }

  WorkerCore core_;
  std::vector<WorkerCore::Cancel> cancels_;  // of deliveries
};

TEST_F(WorkerCoreTest, AsksForSlotsAndPrefetchOnce) {
  ASSERT_TRUE(core_.WantsFrame(kStart));
  WorkerCore::Frame frame = Frame();
  EXPECT_EQ(frame.credit, 3);
  EXPECT_THAT(frame.type_credits, ElementsAre(Pair("limited", 1)));
  EXPECT_FALSE(core_.WantsFrame(kStart));
  EXPECT_EQ(Frame().credit, 0);
}

TEST_F(WorkerCoreTest, FinishedTaskFreesItsSlot) {
  Frame();
  Run(1);
  core_.OnFinish(Task(1), 101, Outcome::Done("r"), kStart + absl::Seconds(2));
  WorkerCore::Frame frame = Frame();
  EXPECT_EQ(frame.credit, 1);
  ASSERT_THAT(frame.outcomes, SizeIs(1));
  EXPECT_EQ(frame.outcomes[0]->outcome.result(), "r");
  EXPECT_EQ(frame.outcomes[0]->run_time, absl::Seconds(2));
  EXPECT_THAT(frame.starts, IsEmpty()) << "the outcome tells it";
  EXPECT_EQ(frame.number, 1u);
}

TEST_F(WorkerCoreTest, AfterManyShortRunsAStartWaitsForItsOutcome) {
  absl::Duration now = kStart;
  for (uint32_t n = 1; n <= 16; ++n) {
    ASSERT_TRUE(Deliver(Delivery(n), now));
    ASSERT_TRUE(core_.OnStart(Task(n), 100 + n, now));
    EXPECT_TRUE(core_.WantsFrame(now)) << "told at once";
    core_.OnFinish(Task(n), 100 + n, Outcome::Done(), now += absl::Milliseconds(1));
    Frame(now);
  }
  ASSERT_TRUE(Deliver(Delivery(17), now));
  ASSERT_TRUE(core_.OnStart(Task(17), 117, now));
  EXPECT_FALSE(core_.WantsFrame(now));
  EXPECT_EQ(core_.NextDeadline(), now + absl::Milliseconds(5));
  // This one is long: its start is told.
  now += absl::Milliseconds(5);
  EXPECT_TRUE(core_.WantsFrame(now));
  EXPECT_THAT(Frame(now).starts, SizeIs(1));
  core_.OnFinish(Task(17), 117, Outcome::Done(), now);
  Frame(now);
  ASSERT_TRUE(Deliver(Delivery(18), now));
  ASSERT_TRUE(core_.OnStart(Task(18), 118, now));
  EXPECT_TRUE(core_.WantsFrame(now)) << "and the next one's at once";
}

TEST_F(WorkerCoreTest, TakesMoreAheadWhileTasksAreShort) {
  absl::Duration now = kStart;
  Frame(now);
  // One every millisecond: ten are finished in 10 ms.
  for (uint32_t n = 1; n <= 20; ++n) {
    ASSERT_TRUE(Deliver(Delivery(n), now));
    ASSERT_TRUE(core_.OnStart(Task(n), 100 + n, now));
    core_.OnFinish(Task(n), 100 + n, Outcome::Done(), now += absl::Milliseconds(1));
  }
  EXPECT_EQ(Frame(now).credit, 2 + 10) << "its slots and ten beyond";
}

TEST_F(WorkerCoreTest, HandsBackWhatWaitsLongBeyondItsPrefetch) {
  absl::Duration now = kStart;
  Frame(now);
  for (uint32_t n = 1; n <= 20; ++n) {
    ASSERT_TRUE(Deliver(Delivery(n), now));
    ASSERT_TRUE(core_.OnStart(Task(n), 100 + n, now));
    core_.OnFinish(Task(n), 100 + n, Outcome::Done(), now += absl::Milliseconds(1));
  }
  Frame(now);
  for (uint32_t n = 21; n <= 26; ++n) ASSERT_TRUE(Deliver(Delivery(n), now));
  ASSERT_TRUE(core_.OnStart(Task(21), 121, now));
  ASSERT_TRUE(core_.OnStart(Task(22), 122, now));
  Frame(now);
  EXPECT_EQ(core_.NextDeadline(), now + absl::Seconds(1));
  core_.OnTime(now + absl::Milliseconds(999));
  EXPECT_FALSE(core_.WantsFrame(now + absl::Milliseconds(999)));
  now += absl::Seconds(1);
  core_.OnTime(now);
  const WorkerCore::Frame frame = Frame(now);
  // The first keeps waiting, as one may; the last ones go.
  ASSERT_THAT(frame.outcomes, SizeIs(3));
  EXPECT_EQ(frame.outcomes[0]->task, Task(26));
  EXPECT_EQ(frame.outcomes[2]->task, Task(24));
  EXPECT_EQ(frame.outcomes[0]->outcome.kind(), Outcome::Kind::kRelease);
  EXPECT_EQ(frame.credit, 0) << "no more than its prefetch until tasks are short again";
  EXPECT_FALSE(core_.OnStart(Task(24), 124, now));
  EXPECT_TRUE(core_.OnStart(Task(23), 123, now));
  Frame(now);
  EXPECT_GT(core_.NextDeadline(), now + absl::Seconds(2));
}

TEST_F(WorkerCoreTest, LimitedTypeHasItsOwnCredit) {
  Frame();
  ASSERT_TRUE(Deliver(Delivery(1, "limited")));
  EXPECT_THAT(Frame().type_credits, IsEmpty());
  ASSERT_TRUE(core_.OnStart(Task(1), 101, kStart));
  core_.OnFinish(Task(1), 101, Outcome::Done(), kStart);
  EXPECT_THAT(Frame().type_credits, ElementsAre(Pair("limited", 1)));
}

TEST_F(WorkerCoreTest, RenewsAThirdOfTheLeaseAfterTheLastFrame) {
  Frame();
  EXPECT_EQ(core_.NextDeadline(), kStart + absl::Seconds(10));
  EXPECT_FALSE(core_.WantsFrame(kStart + absl::Seconds(9)));
  EXPECT_TRUE(core_.WantsFrame(kStart + absl::Seconds(10)));
}

TEST_F(WorkerCoreTest, TimedOutAttemptFailsAtOnceAndKeepsItsSlot) {
  Frame();
  Run(1);
  Frame();
  EXPECT_THAT(core_.OnTime(kStart + absl::Seconds(59)), IsEmpty());
  auto cancels = core_.OnTime(kStart + absl::Minutes(1));
  ASSERT_THAT(cancels, SizeIs(1));
  EXPECT_EQ(cancels[0].reason, CancelReason::kTimeout);
  WorkerCore::Frame frame = Frame(kStart + absl::Minutes(1));
  ASSERT_THAT(frame.outcomes, SizeIs(1));
  EXPECT_EQ(frame.outcomes[0]->outcome.error().type, "timeout");
  EXPECT_THAT(frame.stuck, ElementsAre(Task(1)));
  EXPECT_EQ(frame.credit, 0);
  // What it returns later is nobody's business; its slot is free then.
  core_.OnFinish(Task(1), 101, Outcome::Done(), kStart + absl::Minutes(2));
  frame = Frame(kStart + absl::Minutes(2));
  EXPECT_THAT(frame.outcomes, IsEmpty());
  EXPECT_TRUE(frame.stuck_changed);
  EXPECT_THAT(frame.stuck, IsEmpty());
  EXPECT_EQ(frame.credit, 1);
}

TEST_F(WorkerCoreTest, UnacknowledgedOutcomesAreHeldAndSentAgainAfterACut) {
  Frame();
  Run(1);
  Run(2);
  core_.OnFinish(Task(1), 101, Outcome::Done("r"), kStart);
  EXPECT_EQ(Frame().number, 1u);
  core_.OnDisconnected();
  EXPECT_FALSE(core_.WantsFrame(kStart + absl::Hours(1)));
  auto held = core_.Held();
  ASSERT_THAT(held, SizeIs(2));
  EXPECT_EQ(held[0].task, Task(1));
  EXPECT_EQ(held[1].task, Task(2));
  EXPECT_TRUE(held[1].started);
  EXPECT_FALSE(core_.Holds(Task(1))) << "only its acknowledgement is missing";
  EXPECT_TRUE(core_.Holds(Task(2)));
  EXPECT_THAT(core_.OnWelcome(true, absl::Seconds(30), {}, {}, kStart), IsEmpty());
  WorkerCore::Frame frame = Frame();
  ASSERT_THAT(frame.outcomes, SizeIs(1));
  EXPECT_EQ(frame.outcomes[0]->task, Task(1));
  EXPECT_EQ(frame.number, 2u);
  EXPECT_EQ(frame.credit, 2) << "credit is granted anew";
  core_.OnAcknowledged(2);
  EXPECT_TRUE(core_.settled());
}

TEST_F(WorkerCoreTest, LostTaskIsCancelledAndItsOutcomeDropped) {
  Frame();
  Run(1);
  auto cancels = core_.OnWelcome(true, absl::Seconds(30), {Task(1)}, {}, kStart);
  ASSERT_THAT(cancels, SizeIs(1));
  EXPECT_EQ(cancels[0].reason, CancelReason::kLeaseLost);
  core_.OnFinish(Task(1), 101, Outcome::Done(), kStart);
  EXPECT_THAT(Frame().outcomes, IsEmpty());
}

TEST_F(WorkerCoreTest, NewSessionLosesEverything) {
  Frame();
  Run(1);
  ASSERT_TRUE(Deliver(Delivery(2)));
  auto cancels = core_.OnWelcome(false, absl::Seconds(30), {}, {}, kStart);
  ASSERT_THAT(cancels, SizeIs(1)) << "task 2 had not started";
  EXPECT_FALSE(core_.OnStart(Task(2), 102, kStart));
  EXPECT_EQ(Frame().credit, 2);
}

TEST_F(WorkerCoreTest, DrainHandsBackWhatHasNotStarted) {
  Frame();
  Run(1);
  ASSERT_TRUE(Deliver(Delivery(2)));
  core_.Drain();
  WorkerCore::Frame frame = Frame();
  EXPECT_TRUE(frame.draining);
  EXPECT_EQ(frame.credit, 0);
  ASSERT_THAT(frame.outcomes, SizeIs(1));
  EXPECT_EQ(frame.outcomes[0]->task, Task(2));
  EXPECT_EQ(frame.outcomes[0]->outcome.kind(), Outcome::Kind::kRelease);
  EXPECT_FALSE(core_.OnStart(Task(2), 102, kStart));
  // What was on its way goes back too.
  EXPECT_FALSE(Deliver(Delivery(3)));
  EXPECT_THAT(Frame().outcomes, SizeIs(1));
  core_.HandBackRunning();
  frame = Frame();
  ASSERT_THAT(frame.outcomes, SizeIs(1));
  EXPECT_EQ(frame.outcomes[0]->outcome.kind(), Outcome::Kind::kRelease);
}

TEST_F(WorkerCoreTest, CancelledTaskThatHasNotStartedNeverStarts) {
  Frame();
  ASSERT_TRUE(Deliver(Delivery(1)));
  EXPECT_FALSE(core_.OnCancelled(Task(1)).has_value());
  EXPECT_FALSE(core_.OnStart(Task(1), 101, kStart));
  EXPECT_EQ(Frame().outcomes[0]->outcome.kind(), Outcome::Kind::kCancelled);
}

TEST_F(WorkerCoreTest, OnlyTheNewestProgressOfATaskIsTold) {
  Frame();
  Run(1);
  core_.OnProgress(Task(1), 101, 10, "a");
  core_.OnProgress(Task(1), 101, 20, "b");
  WorkerCore::Frame frame = Frame();
  ASSERT_THAT(frame.progress, SizeIs(1));
  EXPECT_EQ(frame.progress[0].text, "b");
}

TEST_F(WorkerCoreTest, LogIsBounded) {
  Frame();
  Run(1);
  for (int i = 0; i < 100; ++i) core_.OnLog(Task(1), 101, absl::UnixEpoch(), std::string(10'000, 'x'));
  WorkerCore::Frame frame = Frame();
  ASSERT_THAT(frame.logs, SizeIs(1));
  EXPECT_THAT(frame.logs[0].lines, SizeIs(16));
  EXPECT_EQ(frame.logs[0].lines[0].second.size(), 4096u);
}

TEST_F(WorkerCoreTest, TimedOutTaskMayComeAgainBesideItsStuckHandler) {
  Frame();
  Run(1);
  core_.OnTime(kStart + absl::Minutes(1));
  TaskDelivery again = Delivery(1);
  again.fencing_token = 999;
  ASSERT_TRUE(Deliver(again));
  EXPECT_THAT(cancels_, IsEmpty()) << "the old run was given up already";
  ASSERT_TRUE(core_.OnStart(Task(1), 999, kStart));
  EXPECT_EQ(core_.running(), 2);
  Frame();
  core_.OnFinish(Task(1), 101, Outcome::Done("old"), kStart);
  WorkerCore::Frame frame = Frame();
  EXPECT_THAT(frame.outcomes, IsEmpty());
  EXPECT_EQ(frame.credit, 1);
  core_.OnFinish(Task(1), 999, Outcome::Done("new"), kStart);
  frame = Frame();
  ASSERT_THAT(frame.outcomes, SizeIs(1));
  EXPECT_EQ(frame.outcomes[0]->token, 999u);
}

TEST_F(WorkerCoreTest, NewerLeaseOfATaskCancelsTheOlderRun) {
  Frame();
  Run(1);
  TaskDelivery again = Delivery(1);
  again.fencing_token = 999;
  ASSERT_TRUE(Deliver(again));
  ASSERT_THAT(cancels_, SizeIs(1));
  EXPECT_EQ(cancels_[0].token, 101u);
  EXPECT_EQ(cancels_[0].reason, CancelReason::kLeaseLost);
  EXPECT_EQ(core_.Held().at(0).token, 999u);
  EXPECT_FALSE(core_.OnStale(Task(1), 101).has_value()) << "known already";
}

TEST_F(WorkerCoreTest, SlotOfALostHandlerIsAskedForAgain) {
  Frame();
  Run(1);
  Frame();
  ASSERT_TRUE(core_.OnStale(Task(1), 101).has_value());
  EXPECT_FALSE(core_.WantsFrame(kStart));
  core_.OnFinish(Task(1), 101, Outcome::Done(), kStart);
  EXPECT_TRUE(core_.WantsFrame(kStart)) << "no outcome tells of the free slot";
  EXPECT_EQ(Frame().credit, 1);
}

TEST_F(WorkerCoreTest, LostSessionCancelsAtOnceAndTheNextCountsFramesFromOne) {
  Frame();
  Run(1);
  Run(2);
  core_.OnFinish(Task(2), 102, Outcome::Done(), kStart);
  EXPECT_EQ(Frame().number, 1u);
  core_.OnDisconnected();
  EXPECT_THAT(core_.OnSessionLost(), SizeIs(1));
  EXPECT_THAT(core_.Held(), IsEmpty());
  EXPECT_TRUE(core_.idle());
  EXPECT_THAT(core_.OnWelcome(false, absl::Seconds(30), {}, {}, kStart), IsEmpty());
  EXPECT_EQ(Frame().credit, 2) << "the lost handler still has its slot";
  Run(3);
  core_.OnFinish(Task(3), 103, Outcome::Done(), kStart);
  EXPECT_EQ(Frame().number, 1u);
}

TEST_F(WorkerCoreTest, LargeResultsAreSpreadOverFrames) {
  Frame();
  Run(1);
  Run(2);
  core_.OnFinish(Task(1), 101, Outcome::Done(std::string(700, 'x')), kStart);
  core_.OnFinish(Task(2), 102, Outcome::Done(std::string(700, 'x')), kStart);
  EXPECT_THAT(core_.BuildFrame(kStart, 1'000).outcomes, SizeIs(1));
  EXPECT_TRUE(core_.WantsFrame(kStart));
  EXPECT_THAT(core_.BuildFrame(kStart, 10).outcomes, SizeIs(1)) << "one at least";
}

TEST_F(WorkerCoreTest, OutcomeWaitsUntilTheWordsBeforeItFit) {
  Frame();
  Run(1);
  core_.OnLog(Task(1), 101, absl::UnixEpoch(), std::string(4'000, 'x'));
  core_.OnFinish(Task(1), 101, Outcome::Done(), kStart);
  WorkerCore::Frame frame = core_.BuildFrame(kStart, 1'000);
  EXPECT_THAT(frame.logs, SizeIs(1));
  EXPECT_THAT(frame.outcomes, IsEmpty());
  EXPECT_THAT(Frame().outcomes, SizeIs(1));
}

TEST_F(WorkerCoreTest, WordsOfHandlersBecomeTextThatTheBrokerCanRead) {
  Frame();
  Run(1);
  core_.OnLog(Task(1), 101, absl::UnixEpoch(), "gr\xFC\xDF");
  core_.OnProgress(Task(1), 101, std::nan(""), std::string(1'023, 'x') + "\xC3\xBC");
  core_.OnFinish(Task(1), 101, Outcome::Retry({std::string(300, 't'), "a\xC3\xBC\xFF", std::string(20'000, 'd')}),
                 kStart);
  WorkerCore::Frame frame = Frame();
  EXPECT_EQ(frame.logs.at(0).lines.at(0).second, "gr??");
  const HandlerError& error = frame.outcomes.at(0)->outcome.error();
  EXPECT_EQ(error.type.size(), 256u);
  EXPECT_EQ(error.message, "a\xC3\xBC?");
  EXPECT_LE(error.detail.size(), size_t{16} << 10);
  EXPECT_THAT(error.detail, ::testing::HasSubstr("[...]"));
  EXPECT_THAT(frame.progress, IsEmpty()) << "of a task that has ended";
}

TEST_F(WorkerCoreTest, LargeOutcomeGoesOutWithNotMuchBesideIt) {
  Frame();
  Run(1);
  Run(2);
  core_.OnFinish(Task(1), 101, Outcome::Done(std::string(5'000, 'x')), kStart);
  for (int i = 0; i < 3; ++i) core_.OnLog(Task(2), 102, absl::UnixEpoch(), std::string(60, 'x'));
  WorkerCore::Frame frame = core_.BuildFrame(kStart, 1'000);
  EXPECT_THAT(frame.logs, SizeIs(1)) << "more than a quarter of a frame";
  EXPECT_THAT(frame.outcomes, IsEmpty());
  core_.OnProgress(Task(2), 102, 10, "a");
  frame = core_.BuildFrame(kStart, 1'000);
  EXPECT_THAT(frame.progress, SizeIs(1));
  EXPECT_THAT(frame.outcomes, SizeIs(1));
}

TEST_F(WorkerCoreTest, CheckpointTravelsWithTheNewestProgress) {
  Frame();
  Run(1);
  core_.OnProgress(Task(1), 101, 40, "page 4");
  Frame();
  core_.OnCheckpoint(Task(1), 101, "4");
  WorkerCore::Frame frame = Frame();
  ASSERT_THAT(frame.progress, SizeIs(1));
  EXPECT_EQ(frame.progress[0].percent, 40) << "a report tells both";
  EXPECT_EQ(frame.progress[0].text, "page 4");
  EXPECT_EQ(frame.progress[0].checkpoint, "4");
  core_.OnProgress(Task(1), 101, 50, "page 5");
  EXPECT_EQ(Frame().progress[0].checkpoint, std::nullopt) << "what was saved stays";
  core_.OnCheckpoint(Task(1), 101, "5");
  core_.OnProgress(Task(1), 101, 60, "page 6");
  frame = Frame();
  EXPECT_EQ(frame.progress[0].percent, 60);
  EXPECT_EQ(frame.progress[0].checkpoint, "5") << "not lost to a newer report";
  core_.OnCheckpoint(Task(1), 999, "stale");
  EXPECT_THAT(Frame().progress, IsEmpty());
}

TEST_F(WorkerCoreTest, CheckpointGoesBeforeTheOutcomeUnlessThatIsDone) {
  Frame();
  for (uint32_t n = 1; n <= 4; ++n) Run(n);
  for (uint32_t n = 1; n <= 4; ++n) core_.OnCheckpoint(Task(n), 100 + n, std::to_string(n));
  core_.OnFinish(Task(1), 101, Outcome::Done(), kStart);
  core_.OnFinish(Task(2), 102, Outcome::Retry({}), kStart);
  core_.OnStale(Task(3), 103);
  core_.OnTime(kStart + absl::Minutes(1));  // task 4
  WorkerCore::Frame frame = Frame();
  ASSERT_THAT(frame.progress, SizeIs(2));
  EXPECT_EQ(frame.progress[0].checkpoint, "2");
  EXPECT_EQ(frame.progress[1].checkpoint, "4");
  EXPECT_THAT(frame.outcomes, SizeIs(3));
}

TEST_F(WorkerCoreTest, CheckpointsAreToldAgainOnANewStream) {
  Frame();
  for (uint32_t n = 1; n <= 4; ++n) {
    Run(n);
    core_.OnCheckpoint(Task(n), 100 + n, std::to_string(n));
  }
  core_.OnFinish(Task(2), 102, Outcome::Retry({}), kStart);
  core_.OnFinish(Task(3), 103, Outcome::Retry({}), kStart);
  Frame();  // and does not arrive
  core_.OnDisconnected();
  core_.OnWelcome(true, absl::Seconds(30), {Task(3), Task(4)}, {}, kStart);
  WorkerCore::Frame frame = Frame();
  ASSERT_THAT(frame.progress, SizeIs(2));
  EXPECT_EQ(frame.progress[0].task, Task(1));
  EXPECT_EQ(frame.progress[0].checkpoint, "1");
  EXPECT_EQ(frame.progress[1].token, 102u);
  EXPECT_EQ(frame.progress[1].checkpoint, "2");
  EXPECT_THAT(frame.outcomes, SizeIs(1));
  core_.OnDisconnected();
  core_.OnSessionLost();
  core_.OnWelcome(false, absl::Seconds(30), {}, {}, kStart);
  EXPECT_THAT(Frame().progress, IsEmpty()) << "nothing is ours in a new session";
}

TEST_F(WorkerCoreTest, CheckpointOfAHandedBackRunIsKept) {
  Frame();
  Run(1);
  core_.OnCheckpoint(Task(1), 101, "1");
  core_.Drain();
  core_.HandBackRunning();
  WorkerCore::Frame frame = Frame();
  EXPECT_EQ(frame.progress.at(0).checkpoint, "1");
  EXPECT_EQ(frame.outcomes.at(0)->outcome.kind(), Outcome::Kind::kRelease);
  EXPECT_EQ(frame.outcomes.at(0)->run_time, absl::ZeroDuration());
}

TEST_F(WorkerCoreTest, WaitingForCompanyIsNoReasonToHandBack) {
  Frame();
  for (uint32_t n = 1; n <= 3; ++n) ASSERT_TRUE(Deliver(Delivery(n, "batch")));
  core_.OnTime(kStart + absl::Seconds(5));
  EXPECT_TRUE(core_.Holds(Task(3)));
  core_.OnTime(kStart + absl::Seconds(6));
  EXPECT_FALSE(core_.Holds(Task(3)));
  EXPECT_TRUE(core_.Holds(Task(1))) << "the prefetch of one";
}

TEST_F(WorkerCoreTest, HandedBackRunIsTakenForFinished) {
  Frame();
  Run(1);
  core_.Drain();
  core_.HandBackRunning();
  EXPECT_EQ(core_.running(), 1);
  EXPECT_FALSE(core_.settled());
  const uint64_t number = Frame().number;
  core_.OnAcknowledged(number);
  EXPECT_TRUE(core_.idle()) << "the handler is nobody's business";
  core_.OnFinish(Task(1), 101, Outcome::Done(), kStart);
  EXPECT_TRUE(core_.idle());
  EXPECT_EQ(core_.running(), 0);
}

TEST_F(WorkerCoreTest, BackoffGrowsToItsBound) {
  EXPECT_EQ(core_.NextBackoff(0.5), absl::Milliseconds(50));
  EXPECT_EQ(core_.NextBackoff(0.5), absl::Milliseconds(100));
  for (int i = 0; i < 40; ++i) core_.NextBackoff(0.5);
  EXPECT_EQ(core_.NextBackoff(0.5), absl::Seconds(5));
  EXPECT_EQ(core_.NextBackoff(0), absl::ZeroDuration()) << "full jitter: down to nothing";
  EXPECT_EQ(core_.NextBackoff(0.999), absl::Milliseconds(9'990));
}

}  // namespace
}  // namespace penstock
