#include "broker/engine/mailbox.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "broker/engine/door.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kMax = 10'000;
constexpr size_t kAll = 1 << 30;

Command Status(uint64_t ticket) { return StatusCommand{Ticket(ticket)}; }

Command Enqueue(uint64_t ticket) {
  EnqueueCommand command;
  command.ticket = Ticket(ticket);
  return command;
}

// What a worker said; its stream's ticket tells which one.
Command Input(uint64_t stream) {
  SessionInput input;
  input.stream = Ticket(stream);
  return input;
}

uint64_t NumberOf(const Command& command) {
  if (const auto* enqueue = std::get_if<EnqueueCommand>(&command)) return enqueue->ticket.value();
  if (const auto* input = std::get_if<SessionInput>(&command)) return input->stream.value();
  return std::get<StatusCommand>(command).ticket.value();
}

std::vector<uint64_t> Numbers(const std::vector<Command>& commands) {
  std::vector<uint64_t> numbers;
  for (const Command& command : commands) numbers.push_back(NumberOf(command));
  return numbers;
}

std::vector<uint64_t> TakeNow(Mailbox& mailbox, size_t bytes = kAll) {
  return Numbers(mailbox.Take(absl::ZeroDuration(), bytes).commands);
}

// Puts enqueues of 1,000 bytes until one is refused, which is returned.
absl::Status Fill(Mailbox& mailbox) {
  while (true) {
    if (absl::Status status = mailbox.Put(Enqueue(1), 1'000); !status.ok()) return status;
  }
}

TEST(MailboxTest, WorkersGoFirstThenOperatorsThenEnqueuesEachInTheirOrder) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  for (uint64_t i = 1; i <= 9; ++i) {
    ASSERT_TRUE(mailbox.Put(i % 3 == 0 ? Input(i) : i % 3 == 1 ? Enqueue(i) : Status(i), 10).ok());
  }
  EXPECT_THAT(TakeNow(mailbox), ElementsAre(3, 6, 9, 2, 5, 8, 1, 4, 7));
  EXPECT_THAT(TakeNow(mailbox), IsEmpty());
}

TEST(MailboxTest, AnEighthOfABatchIsKeptForEachClassThatHasToWait) {
  Mailbox mailbox({.bytes = 1 << 20}, SystemClock());
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(mailbox.Put(Input(1), 1'000).ok());
    ASSERT_TRUE(mailbox.Put(Status(2), 1'000).ok());
    ASSERT_TRUE(mailbox.Put(Enqueue(3), 1'000).ok());
  }
  const std::vector<uint64_t> taken = TakeNow(mailbox, 32'000);
  EXPECT_GT(std::count(taken.begin(), taken.end(), 1), 15);
  EXPECT_GE(std::count(taken.begin(), taken.end(), 2), 3);
  EXPECT_GE(std::count(taken.begin(), taken.end(), 3), 3);
}

TEST(MailboxTest, LargeCommandsOfOneClassDoNotUseUpWhatIsKeptForTheOthers) {
  Mailbox mailbox({.bytes = 1 << 20}, SystemClock());
  for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(mailbox.Put(Input(1), 100'000).ok());
  for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(mailbox.Put(Status(2), 100'000).ok());
  ASSERT_TRUE(mailbox.Put(Enqueue(3), 1'000).ok());
  EXPECT_THAT(TakeNow(mailbox, 32'000), ElementsAre(1, 2, 3));
}

TEST(MailboxTest, WhoWaitsForRoomGetsItBeforeWhoComesLater) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  Fill(mailbox).IgnoreError();
  int calls = 0;
  mailbox.WhenRoom([&] { ++calls; });
  for (int turn = 0; calls == 0 && turn < 100; ++turn) {
    TakeNow(mailbox, 1);
    Fill(mailbox).IgnoreError();
  }
  EXPECT_EQ(calls, 1);
  TakeNow(mailbox);
  EXPECT_TRUE(mailbox.Put(Enqueue(1), 9'000).ok()) << "nobody waits any more";
}

TEST(MailboxTest, WorkersAreNotKeptOutByTheNumberOfOtherCommands) {
  Mailbox mailbox({.bytes = 1 << 20, .commands = 100}, SystemClock());
  absl::Status status;
  while (status.ok()) status = mailbox.Put(Status(2), 0);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(mailbox.Put(Input(3), 0).ok());
  status = absl::OkStatus();
  int more = 0;
  for (; status.ok(); ++more) status = mailbox.Put(Input(3), 0);
  EXPECT_EQ(more, 26) << "a quarter more than the limit";
}

TEST(MailboxTest, WhatWorkersSaidIsCounted) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  ASSERT_TRUE(mailbox.Put(Enqueue(1), 10).ok());
  ASSERT_TRUE(mailbox.Put(Input(2), 10).ok());
  EXPECT_EQ(mailbox.worker_put_count(), 1u);
  const Mailbox::Taken taken = mailbox.Take(absl::ZeroDuration(), kAll);
  EXPECT_EQ(taken.commands.size(), 2u);
  EXPECT_EQ(taken.worker_commands, 1u);
}

TEST(MailboxTest, TakeEndsWithTheCommandThatReachesItsLimitAndLeavesTheRest) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(mailbox.Put(Status(i), 400).ok());
  EXPECT_THAT(TakeNow(mailbox, 1'000), ElementsAre(1, 2));
  EXPECT_THAT(TakeNow(mailbox, 1), ElementsAre(3));
  EXPECT_THAT(TakeNow(mailbox, 1'000'000), ElementsAre(4, 5));
}

TEST(MailboxTest, BytesAreThoseOfTheCommandsInItAndALittleForEach) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  EXPECT_EQ(mailbox.bytes(), 0u);
  ASSERT_TRUE(mailbox.Put(Status(1), 0).ok());
  const size_t overhead = mailbox.bytes();
  EXPECT_GE(overhead, 64u) << "a command without bytes of its own is not free";
  ASSERT_TRUE(mailbox.Put(Status(2), 400).ok());
  EXPECT_EQ(mailbox.bytes(), 400 + 2 * overhead);
  TakeNow(mailbox, 1);
  EXPECT_EQ(mailbox.bytes(), 400 + overhead);
  TakeNow(mailbox);
  EXPECT_EQ(mailbox.bytes(), 0u);
}

TEST(MailboxTest, FullMailboxRefusesAnEnqueueNamesTheLimitAndLeavesTheCommandAsItWas) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  Fill(mailbox).IgnoreError();
  const size_t bytes = mailbox.bytes();
  EXPECT_LE(bytes, kMax);
  Command command = Enqueue(77);
  const absl::Status status = mailbox.Put(std::move(command), 1'000);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(LimitOf(status), "limits.mailbox");
  EXPECT_TRUE(RetryAfterOf(status).has_value());
  EXPECT_EQ(NumberOf(command), 77u);
  EXPECT_EQ(mailbox.bytes(), bytes);
}

TEST(MailboxTest, OperatorsMayFillAnEighthAndWorkersAQuarterMoreThanEnqueues) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  Fill(mailbox).IgnoreError();
  absl::Status status;
  while (status.ok()) status = mailbox.Put(Status(2), 100);
  EXPECT_EQ(LimitOf(status), "limits.mailbox");
  EXPECT_GT(mailbox.bytes(), kMax);
  EXPECT_LE(mailbox.bytes(), kMax + kMax / 8);
  status = absl::OkStatus();
  while (status.ok()) status = mailbox.Put(Input(3), 100);
  EXPECT_GT(mailbox.bytes(), kMax + kMax / 8);
  EXPECT_LE(mailbox.bytes(), kMax + kMax / 4);
}

TEST(MailboxTest, CommandsAreCountedHoweverSmall) {
  Mailbox mailbox({.commands = 100}, SystemClock());
  absl::Status status;
  uint64_t taken = 0;
  for (; status.ok(); taken += status.ok()) status = mailbox.Put(Enqueue(1), 0);
  EXPECT_EQ(taken, 100u);
  EXPECT_EQ(LimitOf(status), "limits.mailbox_commands");
  EXPECT_TRUE(IsMailboxFull(status));
  EXPECT_TRUE(RetryAfterOf(status).has_value());
  EXPECT_TRUE(mailbox.Put(Input(2), 0).ok());
  int calls = 0;
  mailbox.WhenRoom([&] { ++calls; });
  EXPECT_EQ(calls, 0);
  TakeNow(mailbox);
  EXPECT_EQ(calls, 1);
}

// An engine that takes 1,000 bytes in 100 ms.
class SlowEngineTest : public ::testing::Test {
 protected:
  void Turn() {
    clock_.Advance(absl::Milliseconds(100));
    taken_ = mailbox_.Take(absl::ZeroDuration(), 1'000);
  }
  absl::Status Put(absl::Duration patience = absl::InfiniteDuration()) {
    return mailbox_.Put(Enqueue(++last_), 1'000 - 128, patience);
  }
  // Fills it up to the limit.
  absl::Status Fill() {
    absl::Status status;
    while (status.ok()) status = Put();
    return status;
  }
  // It is known how slow it is.
  void Learn() {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(Put().ok());
    for (int i = 0; i < 3; ++i) Turn();
    EXPECT_EQ(mailbox_.bytes(), 0u);
  }

  ManualClock clock_;
  Mailbox mailbox_{{.bytes = 1'000'000, .wait = absl::Seconds(2), .bytes_min = 2'000}, clock_};
  Mailbox::Taken taken_;
  uint64_t last_ = 0;
};

TEST_F(SlowEngineTest, NoMoreIsTakenThanItsRateServesInTime) {
  Learn();
  const absl::Status refused = Fill();
  EXPECT_EQ(LimitOf(refused), "limits.mailbox_wait");
  // 2 s at 10,000 bytes a second.
  EXPECT_GE(mailbox_.bytes(), 19'000u);
  EXPECT_LE(mailbox_.bytes(), 20'000u);
  EXPECT_EQ(LimitOf(mailbox_.MayEnqueue(1'000, absl::InfiniteDuration())), "limits.mailbox_wait");
  EXPECT_TRUE(mailbox_.Put(Input(1), 100).ok()) << "workers do not wait for the disk to become faster";
}

TEST_F(SlowEngineTest, RefusedAreToldToComeWhenThereIsRoomAndNotAllAtOnce) {
  Learn();
  std::set<absl::Duration> told;
  Fill().IgnoreError();
  for (int i = 0; i < 20; ++i) told.insert(RetryAfterOf(Put()).value());
  // Half of it, and what wants to come in, takes about 1.1 s.
  EXPECT_GE(*told.begin(), absl::Milliseconds(990));
  EXPECT_LE(*told.rbegin(), absl::Milliseconds(2'200));
  EXPECT_GT(told.size(), 10u);
}

TEST_F(SlowEngineTest, TwoBatchesMayWaitHoweverSlowItIs) {
  Learn();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Put().ok());
  Turn();
  clock_.Advance(absl::Minutes(10));  // hangs
  EXPECT_TRUE(absl::IsResourceExhausted(Put()));
  EXPECT_EQ(mailbox_.bytes(), 2'000u);
  EXPECT_LE(RetryAfterOf(Put()).value(), absl::Minutes(1));
}

TEST_F(SlowEngineTest, WhoCannotWaitThatLongIsRefusedAtOnce) {
  Learn();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(Put().ok());
  // Before it lie 1 s of what waits; half of the caller's time is for the rest of the way.
  EXPECT_EQ(LimitOf(Put(absl::Milliseconds(1'900))), "limits.mailbox_wait");
  EXPECT_TRUE(Put(absl::Milliseconds(2'100)).ok());
  EXPECT_TRUE(mailbox_.Put(Status(1), 10, absl::Milliseconds(100)).ok()) << "before it lies nothing";
}

TEST_F(SlowEngineTest, WhatIsUnderWayIsWaitedForToo) {
  Learn();
  EXPECT_TRUE(Put(absl::Milliseconds(500)).ok());
  Turn();
  mailbox_.Hold();
  // Three batches of 100 ms each may be before it.
  EXPECT_EQ(LimitOf(Put(absl::Milliseconds(500))), "limits.mailbox_wait") << "with an empty mailbox";
  mailbox_.Release();
  EXPECT_TRUE(Put(absl::Milliseconds(500)).ok());
}

TEST_F(SlowEngineTest, WhatNobodyWaitsForAnyMoreIsNotGivenOut) {
  ASSERT_TRUE(Put(absl::Milliseconds(50)).ok());
  ASSERT_TRUE(Put(absl::Seconds(1)).ok());
  Turn();
  EXPECT_THAT(taken_.expired, ElementsAre(Ticket(1)));
  EXPECT_THAT(Numbers(taken_.commands), ElementsAre(2));
  EXPECT_EQ(mailbox_.bytes(), 0u);
  Effects effects;
  AnswerExpired(taken_.expired, &effects);
  ASSERT_EQ(effects.replies.size(), 1u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(effects.replies[0].status));
}

TEST_F(SlowEngineTest, WithoutPatienceNothingIsTaken) {
  EXPECT_TRUE(absl::IsDeadlineExceeded(Put(absl::ZeroDuration())));
  EXPECT_TRUE(absl::IsDeadlineExceeded(mailbox_.MayEnqueue(1, -absl::Seconds(1))));
  EXPECT_EQ(mailbox_.bytes(), 0u);
}

TEST_F(SlowEngineTest, ARateIsForgottenWhenItIsOld) {
  Learn();
  clock_.Advance(absl::Seconds(6));
  EXPECT_EQ(LimitOf(Fill()), "limits.mailbox");
  EXPECT_GT(mailbox_.bytes(), 900'000u);
}

TEST_F(SlowEngineTest, AFasterEngineIsBelieved) {
  Learn();
  Fill().IgnoreError();
  for (int i = 0; i < 400; ++i) {
    clock_.Advance(absl::Milliseconds(10));  // ten times as fast
    mailbox_.Take(absl::ZeroDuration(), 1'000);
    Fill().IgnoreError();
  }
  EXPECT_GT(mailbox_.bytes(), 150'000u);
}

TEST(MailboxTest, ACommandLargerThanTheMailboxIsTakenWhileItIsLessThanHalfFull) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  ASSERT_TRUE(mailbox.Put(Enqueue(1), 3 * kMax).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(mailbox.Put(Enqueue(2), 1)));
  EXPECT_THAT(TakeNow(mailbox), ElementsAre(1));
  EXPECT_TRUE(mailbox.Put(Enqueue(3), 3 * kMax).ok());
}

TEST(MailboxTest, RoomIsAnnouncedAtOnceWhereThereIsSome) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  int calls = 0;
  mailbox.WhenRoom([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(MailboxTest, RoomIsAnnouncedOnceAsSoonAsHalfTheMailboxIsEmpty) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  Fill(mailbox).IgnoreError();
  int calls = 0;
  mailbox.WhenRoom([&] {
    ++calls;
    EXPECT_TRUE(mailbox.Put(Enqueue(9), 1'000).ok()) << "room was announced where there is none";
  });
  while (mailbox.bytes() >= kMax / 2) {
    EXPECT_EQ(calls, 0);
    TakeNow(mailbox, 1);
    if (calls > 0) break;
  }
  EXPECT_EQ(calls, 1);
  TakeNow(mailbox);
  EXPECT_EQ(calls, 1);
}

TEST(MailboxTest, ClosingTellsThoseWhoWaitForRoom) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  Fill(mailbox).IgnoreError();
  int calls = 0;
  mailbox.WhenRoom([&] { ++calls; });
  mailbox.Close(absl::UnavailableError("stopping"));
  EXPECT_EQ(calls, 1);
  mailbox.WhenRoom([&] { ++calls; });
  EXPECT_EQ(calls, 2) << "a closed mailbox has nothing to wait for";
}

TEST(MailboxTest, ClosedMailboxTakesNoMoreAndGivesOutWhatItHolds) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  ASSERT_TRUE(mailbox.Put(Status(1), 1).ok());
  mailbox.Close(absl::UnavailableError("stopping"));
  Command command = Status(2);
  EXPECT_EQ(mailbox.Put(std::move(command), 1), absl::UnavailableError("stopping"));
  EXPECT_EQ(NumberOf(command), 2u);
  EXPECT_THAT(TakeNow(mailbox), ElementsAre(1));
  EXPECT_EQ(mailbox.bytes(), 0u);
}

TEST(MailboxTest, ACommandEndsAWaitingTake) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  std::thread producer([&] { EXPECT_TRUE(mailbox.Put(Status(1), 1).ok()); });
  // Spurious and early ends give nothing: the engine asks again, and so does this.
  std::vector<uint64_t> taken;
  while (taken.empty()) taken = Numbers(mailbox.Take(absl::InfiniteDuration(), kAll).commands);
  EXPECT_THAT(taken, ElementsAre(1));
  producer.join();
}

TEST(MailboxTest, WakeEndsATakeBeforeAndWhileItWaits) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  mailbox.Wake();
  EXPECT_THAT(mailbox.Take(absl::InfiniteDuration(), kAll).commands, IsEmpty());
  std::thread waker([&] { mailbox.Wake(); });
  EXPECT_THAT(mailbox.Take(absl::InfiniteDuration(), kAll).commands, IsEmpty());
  waker.join();
}

TEST(MailboxTest, HeldMailboxKeepsFewCommandsUntilItIsReleased) {
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  mailbox.Hold();
  ASSERT_TRUE(mailbox.Put(Status(1), 1).ok());
  EXPECT_THAT(mailbox.Take(absl::Nanoseconds(1), 0).commands, IsEmpty());
  std::thread releaser([&] {
    EXPECT_TRUE(mailbox.Put(Status(2), 1).ok());
    mailbox.Release();
  });
  // Only the release ends this.
  EXPECT_THAT(Numbers(mailbox.Take(absl::InfiniteDuration(), kAll).commands), ElementsAre(1, 2));
  releaser.join();
  ASSERT_TRUE(mailbox.Put(Status(3), 1).ok());
  EXPECT_THAT(Numbers(mailbox.Take(absl::InfiniteDuration(), kAll).commands), ElementsAre(3));
}

TEST(MailboxTest, HeldMailboxGivesOutManyBytesAtOnce) {
  Mailbox mailbox({.bytes = 1 << 20}, SystemClock());
  mailbox.Hold();
  std::thread producer([&] {
    for (uint64_t i = 1; i <= 3; ++i) EXPECT_TRUE(mailbox.Put(Status(i), Mailbox::kHeldBytes / 2).ok());
  });
  EXPECT_GE(mailbox.Take(absl::InfiniteDuration(), kAll).commands.size(), 2u);
  producer.join();
}

TEST(MailboxTest, CommandsOfManyThreadsComeOutOnceAndInTheOrderOfEachThread) {
  constexpr uint64_t kThreads = 4, kEach = 2'000;
  Mailbox mailbox({.bytes = kMax}, SystemClock());
  std::vector<std::thread> producers;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    producers.emplace_back([&mailbox, thread] {
      for (uint64_t i = 0; i < kEach;) {
        if (mailbox.Put(Enqueue(thread * kEach + i), 100).ok()) {
          ++i;
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  std::map<uint64_t, std::vector<uint64_t>> taken;
  for (size_t count = 0; count < kThreads * kEach;) {
    for (uint64_t number : Numbers(mailbox.Take(absl::InfiniteDuration(), 1'000).commands)) {
      taken[number / kEach].push_back(number % kEach);
      ++count;
    }
  }
  for (std::thread& producer : producers) producer.join();
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    ASSERT_EQ(taken[thread].size(), kEach);
    for (uint64_t i = 0; i < kEach; ++i) ASSERT_EQ(taken[thread][i], i) << "of thread " << thread;
  }
  EXPECT_EQ(mailbox.bytes(), 0u);
}

}  // namespace
}  // namespace penstock::broker
