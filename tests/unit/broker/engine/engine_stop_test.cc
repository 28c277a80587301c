#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/broker/engine/engine_fixture.h"

namespace penstock::broker {
namespace {

TEST_F(EngineTest, StopCommitsWhatWasTakenAnswersItAndRefusesTheRest) {
  StartEngine();
  Status();
  std::vector<Ticket> tickets = FillPipeline();
  for (int i = 0; i < 20; ++i) tickets.push_back(Enqueue(std::to_string(i)));
  const size_t enqueued = tickets.size();
  std::thread stopper([&] { engine().Stop(); });
  Ticket late = NewTicket();
  absl::Status status;
  for (; (status = Post(StatusCommand{late}, 1)).ok(); late = NewTicket()) {
    tickets.push_back(late);
    std::this_thread::yield();
  }
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  store_.Open();
  stopper.join();
  // All answers are out when Stop returns; operators' questions may have gone before the enqueues.
  const std::vector<Ticket> order = answers_.order();
  EXPECT_THAT(std::vector<Ticket>(order.end() - static_cast<std::ptrdiff_t>(tickets.size()), order.end()),
              testing::UnorderedElementsAreArray(tickets));
  for (Ticket ticket : tickets) EXPECT_TRUE(StatusOf(ticket).ok());
  EXPECT_TRUE(absl::IsUnavailable(Post(StatusCommand{NewTicket()})));
  RecoveredTasks(enqueued);
}

TEST_F(EngineTest, StopIsSafeTwiceAndBeforeStart) {
  StartEngine();
  engine().Stop();
  engine().Stop();
  Engine never(options_, store_, answers_, clock_, [](const absl::Status&) {});
  never.Stop();
  never.Stop();
}

TEST_F(EngineTest, CommandsAreRefusedBeforeTheEngineHasStarted) {
  Engine engine(options_, store_, answers_, clock_, [](const absl::Status&) {});
  Command command = Task(NewTicket(), "early");
  EXPECT_TRUE(absl::IsUnavailable(engine.Post(std::move(command), 1)));
  EXPECT_EQ(std::get<EnqueueCommand>(command).tasks.size(), 1u);
  EXPECT_EQ(engine.mailbox_bytes(), 0u);
  ASSERT_TRUE(engine.Start().ok());
  EXPECT_TRUE(engine.Post(std::move(command), 1).ok());
  engine.Stop();
  EXPECT_EQ(answers_.order().size(), 1u);
}

TEST_F(EngineTest, AnEngineThatCannotRecoverDoesNotStart) {
  StartEngine();
  EnqueueAndWait("letter");
  engine().Stop();
  std::vector<std::string> keys;
  ASSERT_TRUE(store_
                  .Scan(Family::kMeta, "", "",
                        [&](std::string_view key, std::string_view) {
                          keys.emplace_back(key);
                          return true;
                        })
                  .ok());
  CommitBatch broken;
  for (const std::string& key : keys) broken.Put(Family::kMeta, key, "no record");
  ASSERT_TRUE(store_.Commit(broken, true).ok());
  Engine engine(options_, store_, answers_, clock_, [](const absl::Status&) {});
  EXPECT_TRUE(absl::IsDataLoss(engine.Start()));
  EXPECT_TRUE(absl::IsUnavailable(engine.Post(StatusCommand{NewTicket()}, 1)));
}

TEST_F(EngineTest, StoppedAmongProducersEveryCommandThatWasTakenIsAnsweredOnce) {
  constexpr int kRounds = 100, kThreads = 3;
  for (int round = 0; round < kRounds; ++round) {
    StartEngine();
    const size_t answered_before = answers_.order().size();
    std::vector<std::vector<Ticket>> taken(kThreads);
    std::vector<std::thread> producers;
    for (std::vector<Ticket>& tickets : taken) {
      producers.emplace_back([&] {
        for (Ticket ticket = NewTicket(); Post(StatusCommand{ticket}).ok(); ticket = NewTicket()) {
          tickets.push_back(ticket);
          std::this_thread::yield();
        }
      });
    }
    Status();
    engine().Stop();
    for (std::thread& producer : producers) producer.join();
    size_t count = 1;
    for (const std::vector<Ticket>& tickets : taken) count += tickets.size();
    ASSERT_EQ(answers_.order().size() - answered_before, count);
    for (const std::vector<Ticket>& tickets : taken) {
      for (Ticket ticket : tickets) EXPECT_TRUE(StatusOf(ticket).ok());
    }
  }
}

// Stands still; the thread that reads it can be held.
class HoldingClock : public Clock {
 public:
  Now Read() const override {
    MutexLock lock(mu_);
    while (holds_) {
      held_ = true;
      changed_.SignalAll();
      changed_.Wait(mu_);
    }
    return {absl::FromUnixSeconds(1'800'000'000), absl::ZeroDuration()};
  }
  void Hold(bool holds) {
    MutexLock lock(mu_);
    holds_ = holds;
    held_ = false;
    changed_.SignalAll();
  }
  void AwaitHeld() {
    MutexLock lock(mu_);
    while (!held_) changed_.Wait(mu_);
  }

 private:
  mutable Mutex mu_;
  mutable CondVar changed_;
  bool holds_ ABSL_GUARDED_BY(mu_) = false;
  mutable bool held_ ABSL_GUARDED_BY(mu_) = false;
};

TEST_F(EngineTest, ACommandThatCameBetweenTheLastLookIntoTheMailboxAndStopIsAnswered) {
  for (int round = 0; round < 20; ++round) {
    HoldingClock clock;
    Engine engine(options_, store_, answers_, clock, [](const absl::Status&) {});
    ASSERT_TRUE(engine.Start().ok());
    const Ticket first = NewTicket();
    ASSERT_TRUE(engine.Post(StatusCommand{first}, 1).ok());
    answers_.Await(first);
    // The engine wakes up, finds nothing, and is held when it reads the clock.
    clock.Hold(true);
    engine.LookAtClock();
    clock.AwaitHeld();
    const Ticket second = NewTicket();
    ASSERT_TRUE(engine.Post(StatusCommand{second}, 1).ok());
    std::thread stopper([&] { engine.Stop(); });
    std::vector<Ticket> more;
    for (Ticket ticket = NewTicket(); engine.Post(StatusCommand{ticket}, 1).ok(); ticket = NewTicket()) {
      more.push_back(ticket);
      std::this_thread::yield();
    }
    clock.Hold(false);
    stopper.join();
    std::vector<Ticket> expected = {second};
    expected.insert(expected.end(), more.begin(), more.end());
    const std::vector<Ticket> order = answers_.order();
    ASSERT_GE(order.size(), expected.size());
    ASSERT_EQ(std::vector<Ticket>(order.end() - static_cast<std::ptrdiff_t>(expected.size()), order.end()), expected);
  }
}

}  // namespace
}  // namespace penstock::broker
