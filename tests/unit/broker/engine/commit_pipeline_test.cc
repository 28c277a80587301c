#include "broker/engine/commit_pipeline.h"

#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/effect_recorder.h"
#include "tests/support/gated_store.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

enum class Durability { kSync, kRelaxed };

// Longer than any test.
constexpr absl::Duration kNoSeal = absl::Hours(1);

class CommitPipelineTest : public ::testing::Test {
 protected:
  CommitPipelineTest()
      : pipeline_(
            store_, receiver_, clock_, kNoSeal,
            [this](const absl::Status& status) {
              MutexLock lock(mu_);
              failures_.push_back(status);
              failed_.SignalAll();
            },
            [this] {
              MutexLock lock(mu_);
              idle_commits_.push_back(store_.commits());
            }) {}
  ~CommitPipelineTest() override {
    store_.Open();
    pipeline_.Stop();
  }

  static Reply AnswerTo(uint64_t ticket) { return {Ticket(ticket), absl::OkStatus(), CancelReply()}; }
  // Writes the key "k<number>" and answers the ticket of that number.
  static CoreBatch Batch(uint64_t number, Durability durability = Durability::kSync) {
    CoreBatch batch;
    batch.sequence = number;
    batch.writes.Put(Family::kMeta, Key(number), "value");
    batch.effects.replies.push_back(AnswerTo(number));
    batch.effects.needs_sync = durability == Durability::kSync;
    return batch;
  }
  static CoreBatch BatchWithoutWrites(uint64_t ticket, bool needs_sync = false) {
    CoreBatch batch;
    batch.effects.replies.push_back(AnswerTo(ticket));
    batch.effects.needs_sync = needs_sync;
    return batch;
  }
  static std::string Key(uint64_t number) { return "k" + std::to_string(number); }

  absl::Status AwaitFailure() {
    MutexLock lock(mu_);
    while (failures_.empty()) failed_.Wait(mu_);
    return failures_.front();
  }
  size_t failure_count() const {
    MutexLock lock(mu_);
    return failures_.size();
  }
  absl::Status StatusOf(uint64_t ticket) { return receiver_.Await(Ticket(ticket)).reply.status; }

  ManualClock clock_;
  GatedStore store_;
  EffectRecorder receiver_{store_};
  mutable Mutex mu_;
  CondVar failed_;
  std::vector<absl::Status> failures_ ABSL_GUARDED_BY(mu_);
  std::vector<size_t> idle_commits_ ABSL_GUARDED_BY(mu_);  // that the store had whenever the pipeline became idle
  CommitPipeline pipeline_;
};

TEST_F(CommitPipelineTest, IsIdleWhenTheLastThatWaitsIsInTheStore) {
  store_.Hold();
  pipeline_.Start();
  pipeline_.Submit(Batch(1));
  store_.AwaitHeld();
  pipeline_.Submit(Batch(2));
  store_.Open();
  EXPECT_TRUE(StatusOf(2).ok());
  pipeline_.Submit(BatchWithoutWrites(3));
  EXPECT_TRUE(StatusOf(3).ok());
  MutexLock lock(mu_);
  // Not after the first commit, which left one waiting.
  EXPECT_THAT(idle_commits_, ElementsAre(2, 2));
}

TEST_F(CommitPipelineTest, EffectsComeOutInOrderAndEachAfterItsOwnCommit) {
  store_.Hold();
  pipeline_.Start();
  pipeline_.Submit(Batch(1));
  store_.AwaitHeld();
  pipeline_.Submit(Batch(2));  // returns: one may wait while one is written
  EXPECT_EQ(receiver_.releases(), 0u);
  EXPECT_THAT(store_.written(), IsEmpty());
  store_.Open();
  EXPECT_EQ(receiver_.Await(Ticket(2)).durable_commits, 2u);
  EXPECT_EQ(receiver_.Await(Ticket(1)).durable_commits, 1u);
  EXPECT_THAT(receiver_.order(), ElementsAre(Ticket(1), Ticket(2)));
  EXPECT_THAT(store_.written(), ElementsAre("k1", "k2"));
}

TEST_F(CommitPipelineTest, AThirdBatchIsTakenOnlyWhenTheFirstIsWritten) {
  store_.Hold();
  pipeline_.Start();
  pipeline_.Submit(Batch(1));
  store_.AwaitHeld();
  pipeline_.Submit(Batch(2));
  std::atomic<size_t> commits_at_third = 0;
  std::thread engine([&] {
    pipeline_.Submit(Batch(3));
    commits_at_third = store_.commits();
  });
  store_.Open();
  engine.join();
  EXPECT_GE(commits_at_third, 1u);
  receiver_.Await(Ticket(3));
  EXPECT_THAT(store_.written(), ElementsAre("k1", "k2", "k3"));
}

TEST_F(CommitPipelineTest, EffectsWithoutWritesWaitForTheirTurnAndCommitNothing) {
  store_.Hold();
  pipeline_.Start();
  pipeline_.Submit(Batch(1));
  store_.AwaitHeld();
  pipeline_.Submit(BatchWithoutWrites(2));
  EXPECT_EQ(receiver_.releases(), 0u);
  store_.Open();
  receiver_.Await(Ticket(2));
  EXPECT_THAT(receiver_.order(), ElementsAre(Ticket(1), Ticket(2)));
  EXPECT_EQ(store_.attempts(), 1u);
  EXPECT_EQ(pipeline_.TakeCommitted(), 1);
  EXPECT_EQ(pipeline_.TakeCommitted(), 0);
}

TEST_F(CommitPipelineTest, RelaxedBatchIsReleasedBeforeItIsSyncedAndSyncedSoonAfter) {
  store_.HoldSyncs();
  pipeline_.Start();
  pipeline_.Submit(Batch(1, Durability::kRelaxed));
  const EffectRecorder::Answer answer = receiver_.Await(Ticket(1));
  EXPECT_EQ(answer.commits, 1u);
  EXPECT_EQ(answer.durable_commits, 0u);
  store_.AwaitHeld();  // the sync comes by itself
  store_.Open();
  store_.AwaitSyncs(1);
  EXPECT_EQ(store_.durable_commits(), 1u);
}

TEST_F(CommitPipelineTest, AnswerThatRestsOnRelaxedWritesIsReleasedAfterTheirSync) {
  store_.HoldSyncs();
  pipeline_.Start();
  pipeline_.Submit(Batch(1, Durability::kRelaxed));
  receiver_.Await(Ticket(1));
  pipeline_.Submit(BatchWithoutWrites(2, /*needs_sync=*/true));
  store_.AwaitHeld();
  EXPECT_THAT(receiver_.order(), ElementsAre(Ticket(1)));
  store_.Open();
  EXPECT_EQ(receiver_.Await(Ticket(2)).durable_commits, 1u);
}

TEST_F(CommitPipelineTest, BatchesThatWriteNothingDoNotDelayTheSyncOfRelaxedOnes) {
  pipeline_.Start();
  // The overdue sync must not wait until no other batch waits: here the next one always does.
  receiver_.SetObserver([&](const Effects& effects) {
    if (effects.replies[0].ticket != Ticket(1)) return;
    clock_.Advance(absl::Milliseconds(150));
    pipeline_.Submit(BatchWithoutWrites(2));
  });
  pipeline_.Submit(Batch(1, Durability::kRelaxed));
  EXPECT_EQ(receiver_.Await(Ticket(2)).durable_commits, 1u);
}

TEST_F(CommitPipelineTest, OverdueRelaxedWritesAreSyncedByTheNextCommit) {
  pipeline_.Start();
  receiver_.SetObserver([&](const Effects& effects) {
    if (effects.replies[0].ticket != Ticket(1)) return;
    clock_.Advance(absl::Milliseconds(150));
    pipeline_.Submit(Batch(2, Durability::kRelaxed));
  });
  pipeline_.Submit(Batch(1, Durability::kRelaxed));
  EXPECT_EQ(receiver_.Await(Ticket(1)).durable_commits, 0u);
  EXPECT_EQ(receiver_.Await(Ticket(2)).durable_commits, 2u);
}

TEST_F(CommitPipelineTest, StopWritesWhatWasSubmittedAndSyncsWhatWasRelaxed) {
  store_.Hold();
  pipeline_.Start();
  pipeline_.Submit(Batch(1, Durability::kRelaxed));
  store_.AwaitHeld();
  pipeline_.Submit(Batch(2, Durability::kRelaxed));
  std::thread stopper([&] { pipeline_.Stop(); });
  store_.Open();
  stopper.join();
  EXPECT_THAT(receiver_.order(), ElementsAre(Ticket(1), Ticket(2)));
  EXPECT_EQ(store_.durable_commits(), 2u);
}

TEST_F(CommitPipelineTest, StopIsSafeTwiceAndWithoutStart) {
  pipeline_.Stop();
  pipeline_.Stop();
  CommitPipeline other(
      store_, receiver_, clock_, kNoSeal, [](const absl::Status&) {}, [] {});
  other.Start();
  other.Stop();
  other.Stop();
  EXPECT_EQ(store_.attempts(), 0u);
}

TEST_F(CommitPipelineTest, AfterAFailedCommitNothingIsWrittenAndEverybodyIsToldThatTheOutcomeIsUnknown) {
  store_.Hold();
  pipeline_.Start();
  CoreBatch first = Batch(1);
  SessionMessage message;
  message.stream = Ticket(100);
  message.deliveries.emplace_back();
  message.acknowledged_frame = 7;
  first.effects.session_messages.push_back(std::move(message));
  first.effects.watch_events.push_back({Ticket(200), absl::OkStatus(), {}});
  pipeline_.Submit(std::move(first));
  store_.AwaitHeld();
  pipeline_.Submit(Batch(2));
  store_.Fail(absl::InternalError("fdatasync: Input/output error"));
  store_.Open();
  pipeline_.Submit(BatchWithoutWrites(3));
  pipeline_.Submit(Batch(4));
  for (uint64_t ticket : {1u, 2u, 3u, 4u}) {
    const EffectRecorder::Answer answer = receiver_.Await(Ticket(ticket));
    EXPECT_TRUE(absl::IsUnavailable(answer.reply.status)) << answer.reply.status;
    EXPECT_THAT(std::string(answer.reply.status.message()), HasSubstr("Input/output error"));
    EXPECT_THAT(std::string(answer.reply.status.message()), HasSubstr("outcome is unknown"));
    EXPECT_TRUE(std::holds_alternative<std::monostate>(answer.reply.value));
  }
  EXPECT_TRUE(absl::IsUnavailable(receiver_.AwaitEnd(Ticket(100))));
  EXPECT_THAT(receiver_.deliveries(), IsEmpty()) << "a task was handed out that may not be stored";
  EXPECT_TRUE(absl::IsUnavailable(receiver_.AwaitWatchEvent(Ticket(200)).status));
  EXPECT_EQ(AwaitFailure(), absl::InternalError("fdatasync: Input/output error"));
  pipeline_.Stop();
  EXPECT_EQ(failure_count(), 1u);
  EXPECT_EQ(store_.attempts(), 1u) << "after a failed commit the store must be opened anew";
  EXPECT_EQ(pipeline_.TakeCommitted(), 0);
}

TEST_F(CommitPipelineTest, FailedSyncOfRelaxedWritesIsAFailureEvenIfNothingElseComes) {
  store_.HoldSyncs();
  pipeline_.Start();
  pipeline_.Submit(Batch(1, Durability::kRelaxed));
  EXPECT_TRUE(StatusOf(1).ok());
  store_.AwaitHeld();
  store_.Fail(absl::ResourceExhaustedError("no space left"));
  store_.Open();
  EXPECT_EQ(AwaitFailure(), absl::ResourceExhaustedError("no space left"));
  pipeline_.Submit(Batch(2));
  EXPECT_TRUE(absl::IsUnavailable(StatusOf(2)));
  pipeline_.Stop();
  EXPECT_EQ(failure_count(), 1u);
}

TEST_F(CommitPipelineTest, FiguresCountCommitsSyncsBytesAndTheTimeTheyTook) {
  pipeline_.Start();
  store_.Hold();
  pipeline_.Submit(Batch(1));
  store_.AwaitHeld();
  clock_.Advance(absl::Milliseconds(3));
  store_.Open();
  StatusOf(1).IgnoreError();
  pipeline_.Submit(Batch(2, Durability::kRelaxed));
  StatusOf(2).IgnoreError();
  pipeline_.Submit(BatchWithoutWrites(3, /*needs_sync=*/true));
  StatusOf(3).IgnoreError();
  pipeline_.Stop();
  const CommitStats stats = pipeline_.stats();
  EXPECT_EQ(stats.commits, 2u);
  EXPECT_EQ(stats.syncs, 2u);
  EXPECT_EQ(stats.bytes, Batch(1).writes.bytes() + Batch(2).writes.bytes());
  EXPECT_EQ(stats.latency_micros_sum, 3'000u);
  EXPECT_EQ(stats.latency_counts[0], 1u);  // up to 100 us
  EXPECT_EQ(stats.latency_counts[8], 1u);  // up to 5 ms
  EXPECT_EQ(stats.latency_p50, absl::Milliseconds(3));
  EXPECT_EQ(stats.latency_p99, absl::Milliseconds(3));
}

TEST_F(CommitPipelineTest, WithNothingElseToWriteTheLastCommitIsSealedOnce) {
  CommitPipeline sealing(
      store_, receiver_, clock_, absl::Milliseconds(1), [](const absl::Status&) {}, [] {});
  sealing.Start();
  sealing.Submit(Batch(1));
  store_.AwaitSyncs(2);
  EXPECT_EQ(store_.commits(), 1u) << "the seal writes nothing";
  sealing.Submit(Batch(2));
  store_.AwaitSyncs(4);
  sealing.Stop();
  EXPECT_EQ(store_.attempts(), 4u) << "no seal of a seal";
}

TEST_F(CommitPipelineTest, RelaxedCommitIsSyncedAndThenSealed) {
  CommitPipeline sealing(
      store_, receiver_, clock_, absl::Milliseconds(1), [](const absl::Status&) {}, [] {});
  sealing.Start();
  sealing.Submit(Batch(1, Durability::kRelaxed));
  store_.AwaitSyncs(2);
  sealing.Stop();
  EXPECT_EQ(store_.attempts(), 3u);
}

}  // namespace
}  // namespace penstock::broker
