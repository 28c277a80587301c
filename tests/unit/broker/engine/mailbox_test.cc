#include "broker/engine/mailbox.h"

#include <map>
#include <thread>
#include <vector>

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

uint64_t NumberOf(const Command& command) {
  if (const auto* enqueue = std::get_if<EnqueueCommand>(&command)) return enqueue->ticket.value();
  return std::get<StatusCommand>(command).ticket.value();
}

std::vector<uint64_t> Numbers(const std::vector<Command>& commands) {
  std::vector<uint64_t> numbers;
  for (const Command& command : commands) numbers.push_back(NumberOf(command));
  return numbers;
}

std::vector<uint64_t> TakeNow(Mailbox& mailbox, size_t bytes = kAll) {
  return Numbers(mailbox.Take(absl::ZeroDuration(), bytes));
}

// Puts enqueues of 1,000 bytes until one is refused, which is returned.
absl::Status Fill(Mailbox& mailbox) {
  while (true) {
    if (absl::Status status = mailbox.Put(Enqueue(1), 1'000); !status.ok()) return status;
  }
}

TEST(MailboxTest, CommandsComeOutInTheOrderInWhichTheyWerePut) {
  Mailbox mailbox(kMax);
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(mailbox.Put(i % 2 == 0 ? Status(i) : Enqueue(i), 10).ok());
  EXPECT_THAT(TakeNow(mailbox), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(TakeNow(mailbox), IsEmpty());
}

TEST(MailboxTest, TakeEndsWithTheCommandThatReachesItsLimitAndLeavesTheRest) {
  Mailbox mailbox(kMax);
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(mailbox.Put(Status(i), 400).ok());
  EXPECT_THAT(TakeNow(mailbox, 1'000), ElementsAre(1, 2));
  EXPECT_THAT(TakeNow(mailbox, 1), ElementsAre(3));
  EXPECT_THAT(TakeNow(mailbox, 1'000'000), ElementsAre(4, 5));
}

TEST(MailboxTest, BytesAreThoseOfTheCommandsInItAndALittleForEach) {
  Mailbox mailbox(kMax);
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
  Mailbox mailbox(kMax);
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

TEST(MailboxTest, OtherCommandsMayFillAQuarterMoreThanEnqueues) {
  Mailbox mailbox(kMax);
  Fill(mailbox).IgnoreError();
  absl::Status status;
  while (status.ok()) status = mailbox.Put(Status(2), 100);
  EXPECT_EQ(LimitOf(status), "limits.mailbox");
  EXPECT_GT(mailbox.bytes(), kMax);
  EXPECT_LE(mailbox.bytes(), kMax + kMax / 4);
}

TEST(MailboxTest, ACommandLargerThanTheMailboxIsTakenWhileItIsLessThanHalfFull) {
  Mailbox mailbox(kMax);
  ASSERT_TRUE(mailbox.Put(Enqueue(1), 3 * kMax).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(mailbox.Put(Enqueue(2), 1)));
  EXPECT_THAT(TakeNow(mailbox), ElementsAre(1));
  EXPECT_TRUE(mailbox.Put(Enqueue(3), 3 * kMax).ok());
}

TEST(MailboxTest, RoomIsAnnouncedAtOnceWhereThereIsSome) {
  Mailbox mailbox(kMax);
  int calls = 0;
  mailbox.WhenRoom([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(MailboxTest, RoomIsAnnouncedOnceAsSoonAsHalfTheMailboxIsEmpty) {
  Mailbox mailbox(kMax);
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
  Mailbox mailbox(kMax);
  Fill(mailbox).IgnoreError();
  int calls = 0;
  mailbox.WhenRoom([&] { ++calls; });
  mailbox.Close(absl::UnavailableError("stopping"));
  EXPECT_EQ(calls, 1);
  mailbox.WhenRoom([&] { ++calls; });
  EXPECT_EQ(calls, 2) << "a closed mailbox has nothing to wait for";
}

TEST(MailboxTest, ClosedMailboxTakesNoMoreAndGivesOutWhatItHolds) {
  Mailbox mailbox(kMax);
  ASSERT_TRUE(mailbox.Put(Status(1), 1).ok());
  mailbox.Close(absl::UnavailableError("stopping"));
  Command command = Status(2);
  EXPECT_EQ(mailbox.Put(std::move(command), 1), absl::UnavailableError("stopping"));
  EXPECT_EQ(NumberOf(command), 2u);
  EXPECT_THAT(TakeNow(mailbox), ElementsAre(1));
  EXPECT_EQ(mailbox.bytes(), 0u);
}

TEST(MailboxTest, ACommandEndsAWaitingTake) {
  Mailbox mailbox(kMax);
  std::thread producer([&] { EXPECT_TRUE(mailbox.Put(Status(1), 1).ok()); });
  // Spurious and early ends give nothing: the engine asks again, and so does this.
  std::vector<uint64_t> taken;
  while (taken.empty()) taken = Numbers(mailbox.Take(absl::InfiniteDuration(), kAll));
  EXPECT_THAT(taken, ElementsAre(1));
  producer.join();
}

TEST(MailboxTest, WakeEndsATakeBeforeAndWhileItWaits) {
  Mailbox mailbox(kMax);
  mailbox.Wake();
  EXPECT_THAT(mailbox.Take(absl::InfiniteDuration(), kAll), IsEmpty());
  std::thread waker([&] { mailbox.Wake(); });
  EXPECT_THAT(mailbox.Take(absl::InfiniteDuration(), kAll), IsEmpty());
  waker.join();
}

TEST(MailboxTest, HeldMailboxKeepsFewCommandsUntilItIsReleased) {
  Mailbox mailbox(kMax);
  mailbox.Hold();
  ASSERT_TRUE(mailbox.Put(Status(1), 1).ok());
  EXPECT_THAT(mailbox.Take(absl::Nanoseconds(1), 0), IsEmpty());
  std::thread releaser([&] {
    EXPECT_TRUE(mailbox.Put(Status(2), 1).ok());
    mailbox.Release();
  });
  // Only the release ends this.
  EXPECT_THAT(Numbers(mailbox.Take(absl::InfiniteDuration(), kAll)), ElementsAre(1, 2));
  releaser.join();
  ASSERT_TRUE(mailbox.Put(Status(3), 1).ok());
  EXPECT_THAT(Numbers(mailbox.Take(absl::InfiniteDuration(), kAll)), ElementsAre(3));
}

TEST(MailboxTest, HeldMailboxGivesOutManyBytesAtOnce) {
  Mailbox mailbox(1 << 20);
  mailbox.Hold();
  std::thread producer([&] {
    for (uint64_t i = 1; i <= 3; ++i) EXPECT_TRUE(mailbox.Put(Status(i), Mailbox::kHeldBytes / 2).ok());
  });
  EXPECT_GE(mailbox.Take(absl::InfiniteDuration(), kAll).size(), 2u);
  producer.join();
}

TEST(MailboxTest, CommandsOfManyThreadsComeOutOnceAndInTheOrderOfEachThread) {
  constexpr uint64_t kThreads = 4, kEach = 2'000;
  Mailbox mailbox(kMax);
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
    for (uint64_t number : Numbers(mailbox.Take(absl::InfiniteDuration(), 1'000))) {
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
