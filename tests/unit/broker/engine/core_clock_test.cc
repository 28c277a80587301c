#include "broker/engine/core_clock.h"

#include <string>
#include <utility>
#include <vector>

#include "broker/core/broker_core.h"
#include "broker/storage/memory_store.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

Now At(int seconds) { return {absl::FromUnixSeconds(1'800'000'000 + seconds), absl::Seconds(seconds)}; }

TEST(CoreClockTest, IsTheMachinesClockWhileNothingWaits) {
  CoreClock clock(At(5));
  const CoreNow now = clock.Read(At(12), 3, 3);
  EXPECT_EQ(now.elapsed, 7 * kSecond);
  EXPECT_EQ(now.ahead, 0);
}

TEST(CoreClockTest, AMomentHasComeWhenAllThatArrivedBeforeItWasTaken) {
  CoreClock clock(At(0));
  EXPECT_EQ(clock.Read(At(1), 0, 0).elapsed, kSecond);
  EXPECT_EQ(clock.Read(At(2), 1, 5).elapsed, kSecond);  // four wait, which may be older than two seconds
  EXPECT_EQ(clock.Read(At(3), 4, 6).elapsed, kSecond);
  EXPECT_EQ(clock.Read(At(4), 5, 6).elapsed, 2 * kSecond);
  EXPECT_EQ(clock.Read(At(5), 6, 6).elapsed, 5 * kSecond);
}

TEST(CoreClockTest, WhatTheBrokerLostDoesNotCount) {
  CoreClock clock(At(0));
  clock.Lost(absl::Seconds(10));
  EXPECT_EQ(clock.Read(At(11), 0, 0).elapsed, kSecond + 250 * kMilli);
}

// A worker's frame wakes an engine that has slept for long, and another command comes before it was applied: the lease
// is renewed from now on, not from when the engine last looked. Found by the simulation, seed 21826.
TEST(CoreClockTest, ARenewalCountsFromNowAlthoughMoreWaits) {
  MemoryStore store;
  CoreOptions options;
  CoreClock clock(At(0));
  auto core = BrokerCore::Recover(options, store, {ToMicros(At(0).wall), 0});
  ASSERT_TRUE(core.ok()) << core.status();
  // True while the session lives.
  auto step = [&](int second, uint64_t taken, uint64_t put, std::vector<Command> commands) {
    CoreBatch batch = (*core)->Step(absl::MakeSpan(commands), clock.Read(At(second), taken, put));
    EXPECT_TRUE(batch.sequence == 0 || store.Commit(batch.writes, true).ok());
    if (batch.sequence != 0) (*core)->Committed();
    for (const SessionMessage& message : batch.effects.session_messages) {
      if (message.end) return false;
    }
    return true;
  };
  OpenSessionCommand open;
  open.stream = Ticket(1);
  open.session_id = "secret";
  open.worker_name = "worker";
  open.lease = 16 * kSecond;
  EXPECT_TRUE(step(7, 1, 1, {open}));
  SessionInput frame;
  frame.stream = Ticket(1);
  EXPECT_TRUE(step(15, 2, 3, {frame}));
  EXPECT_TRUE(step(15, 3, 3, {StatusCommand{Ticket(2)}}));
  EXPECT_TRUE(step(30, 3, 3, {}));
  EXPECT_FALSE(step(32, 3, 3, {}));
}

}  // namespace
}  // namespace penstock::broker
