// A commit fails: everybody is told that the outcome is unknown, and a new engine on the reopened store goes on.

#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/broker/engine/engine_fixture.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EngineFailureTest : public EngineTest {
 protected:
  void ExpectUnknown(const absl::Status& status) {
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("the outcome is unknown"));
  }
};

// An I/O error ends the store; a full disk leaves it as it was, and commits succeed again once there is space.
struct Fault {
  const char* name;
  absl::Status status;
};

class CommitFaultTest : public EngineFailureTest, public ::testing::WithParamInterface<Fault> {
 protected:
  void Repair() {
    if (absl::IsResourceExhausted(GetParam().status)) {
      store_.Fail(absl::OkStatus());
    } else {
      store_.Reopen();
    }
  }
};

TEST_P(CommitFaultTest, AllWhoWaitAreToldThatTheOutcomeIsUnknownAndTheNextEngineServesAgain) {
  StartEngine();
  const TaskId before = EnqueueAndWait("acknowledged before");
  const uint64_t epoch = engine().epoch();
  std::vector<Ticket> tickets = FillPipeline();
  tickets.push_back(Enqueue("in the mailbox"));
  tickets.push_back(NewTicket());
  ASSERT_TRUE(Post(StatusCommand{tickets.back()}).ok());
  const size_t attempts = store_.attempts();
  store_.Fail(GetParam().status);
  store_.Open();

  for (Ticket ticket : tickets) ExpectUnknown(StatusOf(ticket));
  EXPECT_EQ(AwaitFailure(), GetParam().status);
  const absl::Status late = Post(Task(NewTicket(), "late"));
  EXPECT_TRUE(absl::IsUnavailable(late)) << late;
  engine().Stop();
  EXPECT_EQ(failure_count(), 1u);
  EXPECT_EQ(store_.attempts(), attempts) << "commits went on after one had failed";

  Repair();
  StartEngine();
  EXPECT_GT(engine().epoch(), epoch);
  EXPECT_EQ(Counters().available, 1u);
  const TaskId after = EnqueueAndWait("after");
  EXPECT_EQ(Counters().available, 2u);
  engine().Stop();
  EXPECT_THAT(RecoveredTasks(2), ElementsAre(before, after));
}

TEST_P(CommitFaultTest, WorkersStreamsEndAndTheirTasksAreGivenOutAgainUnderANewToken) {
  options_.core.reclaim_window = kSecond;
  StartEngine();
  const Ticket stream = Connect(1);
  EnqueueAndWait("letter");
  const EffectRecorder::Delivered delivered = answers_.AwaitDeliveries(1)[0];
  store_.Fail(GetParam().status);
  SessionInput completion = Completion(stream, delivered);
  completion.frame_number = 1;
  ASSERT_TRUE(Post(std::move(completion)).ok());
  ExpectUnknown(answers_.AwaitEnd(stream));
  engine().Stop();

  // The worker does not come back: after the reclaim window the task is somebody else's.
  Repair();
  StartEngine();
  Connect(1);
  EXPECT_EQ(Counters().running, 1u);
  for (int steps = 0; steps < 8; ++steps) {
    clock_.Advance(absl::Milliseconds(200));  // longer steps are taken for a stall, which costs nobody the lease
    engine().LookAtClock();
    Status();
  }
  const EffectRecorder::Delivered again = answers_.AwaitDeliveries(2)[1];
  EXPECT_EQ(again.task, delivered.task);
  EXPECT_GT(again.token, delivered.token);
}

INSTANTIATE_TEST_SUITE_P(Faults, CommitFaultTest,
                         ::testing::Values(Fault{"IoError", absl::InternalError("fdatasync: Input/output error")},
                                           Fault{"FullDisk",
                                                 absl::ResourceExhaustedError("write: No space left on device")}),
                         [](const ::testing::TestParamInfo<Fault>& fault) { return fault.param.name; });

TEST_F(EngineFailureTest, ACommitThatFailedButReachedTheStoreIsThereOnceAndItsRequestIdGivesTheSameTasks) {
  constexpr RequestId kReached{1, 1}, kLost{2, 2};
  StartEngine();
  Status();
  store_.Hold();
  const Ticket reached = Enqueue("reached the store", "q", kReached);
  store_.AwaitHeld();
  const Ticket lost = Enqueue("did not", "q", kLost);
  store_.Fail(absl::InternalError("fdatasync: Input/output error"), /*keep_first=*/true);
  store_.Open();
  ExpectUnknown(StatusOf(reached));
  ExpectUnknown(StatusOf(lost));
  AwaitFailure().IgnoreError();
  engine().Stop();

  store_.Reopen();
  StartEngine();
  EXPECT_EQ(Counters().available, 1u);
  const TaskId first = EnqueueAndWait("reached the store", "q", kReached);
  EXPECT_EQ(EnqueueAndWait("reached the store", "q", kReached), first);
  EXPECT_EQ(Counters().available, 1u) << "enqueued twice";
  const TaskId second = EnqueueAndWait("did not", "q", kLost);
  EXPECT_EQ(EnqueueAndWait("did not", "q", kLost), second);
  EXPECT_EQ(Counters().available, 2u);
  engine().Stop();
  EXPECT_THAT(RecoveredTasks(2), ElementsAre(first, second));
}

TEST_F(EngineFailureTest, FailedSyncOfARelaxedQueueIsReportedAndTheNextEngineSyncs) {
  StartEngine();
  QueueCommand create;
  create.ticket = NewTicket();
  create.queue = "q";
  create.settings.relaxed = true;
  const Ticket created = create.ticket;
  ASSERT_TRUE(Post(std::move(create)).ok());
  ASSERT_TRUE(StatusOf(created).ok());
  store_.HoldSyncs();
  const TaskId task = EnqueueAndWait("sample");
  store_.AwaitHeld();
  store_.Fail(absl::ResourceExhaustedError("no space left"));
  store_.Open();
  EXPECT_TRUE(absl::IsResourceExhausted(AwaitFailure()));
  engine().Stop();
  store_.Fail(absl::OkStatus());
  StartEngine();
  Status();
  EXPECT_EQ(store_.durable_commits(), store_.commits());
  engine().Stop();
  EXPECT_THAT(RecoveredTasks(1), ElementsAre(task));
}

TEST_F(EngineFailureTest, WithManyProducersEveryCommandThatWasTakenIsAnsweredOnce) {
  constexpr int kRounds = 100, kThreads = 3;
  for (int round = 0; round < kRounds; ++round) {
    StartEngine();
    const size_t answered_before = answers_.order().size();
    std::vector<std::vector<Ticket>> taken(kThreads);
    std::vector<std::thread> producers;
    for (std::vector<Ticket>& tickets : taken) {
      producers.emplace_back([&] {
        while (true) {
          const Ticket ticket = NewTicket();
          const absl::Status status = Post(StatusCommand{ticket});
          if (absl::IsUnavailable(status)) return;
          ASSERT_TRUE(status.ok()) << status;
          tickets.push_back(ticket);
          std::this_thread::yield();
        }
      });
    }
    store_.Fail(absl::ResourceExhaustedError("no space left"));
    const bool failing = Post(Task(NewTicket(), "fails")).ok();  // no: the commit of the epoch failed already
    for (std::thread& producer : producers) producer.join();
    engine().Stop();
    size_t count = failing ? 1 : 0;
    for (const std::vector<Ticket>& tickets : taken) count += tickets.size();
    ASSERT_EQ(answers_.order().size() - answered_before, count);
    for (const std::vector<Ticket>& tickets : taken) {
      for (Ticket ticket : tickets) answers_.Await(ticket);
    }
    store_.Fail(absl::OkStatus());
  }
}

}  // namespace
}  // namespace penstock::broker
