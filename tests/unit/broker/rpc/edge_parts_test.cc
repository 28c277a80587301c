// The parts of the edge that need no gRPC: tickets, posting in order, the outbox of a worker's stream, rates, reads,
// page tokens.

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/rpc/command_poster.h"
#include "broker/rpc/open_calls.h"
#include "broker/rpc/page_token.h"
#include "broker/rpc/rate_meter.h"
#include "broker/rpc/read_pool.h"
#include "broker/rpc/status_feed.h"
#include "broker/rpc/ticket_table.h"
#include "broker/rpc/work_stream_outbox.h"
#include "common/status_details.h"
#include "gtest/gtest.h"
#include "tests/support/fake_door.h"

namespace penstock::broker {
namespace {

class Recorder : public Waiter {
 public:
  void OnReply(Reply reply) override { ++replies; }
  void OnSessionMessage(SessionMessage message) override { ++messages; }
  void OnWatchEvent(WatchEvent event) override { ++events; }
  int replies = 0;
  int messages = 0;
  int events = 0;
};

Effects RepliesTo(Ticket ticket) {
  Effects effects;
  effects.replies.push_back({ticket, absl::OkStatus(), {}});
  return effects;
}

TEST(TicketTableTest, ReplyTakesItsTicketOut) {
  TicketTable tickets;
  auto waiter = std::make_shared<Recorder>();
  const Ticket ticket = tickets.Add(waiter);
  tickets.Release(RepliesTo(ticket));
  tickets.Release(RepliesTo(ticket));
  EXPECT_EQ(waiter->replies, 1);
  EXPECT_EQ(tickets.size(), 0u);
  EXPECT_EQ(waiter.use_count(), 1);
}

TEST(TicketTableTest, LastingTicketStaysUntilItIsRemoved) {
  TicketTable tickets;
  auto waiter = std::make_shared<Recorder>();
  const Ticket ticket = tickets.AddLasting(waiter);
  Effects effects = RepliesTo(ticket);
  effects.session_messages.emplace_back().stream = ticket;
  effects.watch_events.push_back({.ticket = ticket, .status = {}, .snapshot = {}});
  tickets.Release(effects);
  EXPECT_TRUE(tickets.Remove(ticket));
  EXPECT_FALSE(tickets.Remove(ticket));
  tickets.Release(effects);
  EXPECT_EQ(waiter->replies, 1);
  EXPECT_EQ(waiter->messages, 1);
  EXPECT_EQ(waiter->events, 1);
}

TEST(TicketTableTest, TicketsAreNeverUsedTwice) {
  TicketTable tickets;
  const Ticket first = tickets.Add(std::make_shared<Recorder>());
  tickets.Remove(first);
  EXPECT_NE(tickets.Add(std::make_shared<Recorder>()), first);
}

class PosterOwner : public CommandPoster::Owner {
 public:
  void OnAllPosted() override { ++posted; }
  void OnCommandRefused(const absl::Status& status) override { refused.push_back(status); }
  bool Wanted() override { return wanted; }
  bool wanted = true;
  int posted = 0;
  std::vector<absl::Status> refused;
};

class CommandPosterTest : public ::testing::Test {
 protected:
  void Post(uint64_t ticket) { poster_.Post(UnwatchCommand{Ticket(ticket)}, 1, keepalive_); }

  TicketTable tickets_;
  FakeDoor door_{tickets_};
  PosterOwner owner_;
  std::shared_ptr<void> keepalive_ = std::make_shared<int>();
  CommandPoster poster_{door_, owner_};
};

TEST_F(CommandPosterTest, WaitsForRoomAndKeepsTheOrder) {
  door_.SetFull(true);
  for (uint64_t i = 1; i <= 3; ++i) Post(i);
  EXPECT_EQ(owner_.posted, 0);
  EXPECT_GT(keepalive_.use_count(), 1);
  door_.SetFull(false);
  for (uint64_t i = 1; i <= 3; ++i) EXPECT_EQ(door_.Take<UnwatchCommand>().ticket, Ticket(i));
  EXPECT_EQ(owner_.posted, 1);
  EXPECT_EQ(keepalive_.use_count(), 1);
}

TEST_F(CommandPosterTest, WhatStreamsHoldBackTogetherHasALimit) {
  Allowance held_back(150);
  PosterOwner owners[2];
  CommandPoster first(door_, owners[0], &held_back);
  CommandPoster second(door_, owners[1], &held_back);
  door_.SetFull(true);
  first.Post(UnwatchCommand{Ticket(1)}, 100, keepalive_);
  second.Post(UnwatchCommand{Ticket(2)}, 100, keepalive_);
  EXPECT_EQ(owners[0].refused.size(), 0u);
  ASSERT_EQ(owners[1].refused.size(), 1u);
  EXPECT_TRUE(IsMailboxFull(owners[1].refused[0]));
  door_.SetFull(false);
  EXPECT_EQ(door_.Take<UnwatchCommand>().ticket, Ticket(1));
  // What was held back is given back.
  door_.SetFull(true);
  second.Post(UnwatchCommand{Ticket(3)}, 150, keepalive_);
  EXPECT_EQ(owners[1].refused.size(), 1u);
  door_.SetFull(false);
  EXPECT_EQ(door_.Take<UnwatchCommand>().ticket, Ticket(3));
}

TEST_F(CommandPosterTest, WhatNobodyWantsAnyMoreIsNotPosted) {
  door_.SetFull(true);
  Post(1);
  owner_.wanted = false;
  door_.SetFull(false);
  EXPECT_EQ(door_.waiting(), 0u);
  ASSERT_EQ(owner_.refused.size(), 1u);
  EXPECT_TRUE(absl::IsCancelled(owner_.refused[0]));
  EXPECT_EQ(owner_.posted, 1);
}

TEST_F(CommandPosterTest, SaysSoWhenTheEngineTakesNothing) {
  door_.SetRefusal(absl::UnavailableError("stopping"));
  Post(1);
  ASSERT_EQ(owner_.refused.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(owner_.refused[0]));
  EXPECT_EQ(owner_.posted, 1);
}

TEST_F(CommandPosterTest, DoesNotWaitForALimitOtherThanTheMailbox) {
  door_.SetRefusal(LimitReached("disk.watermark", "the disk is full", absl::Seconds(30)));
  Post(1);
  ASSERT_EQ(owner_.refused.size(), 1u);
  EXPECT_EQ(LimitOf(owner_.refused[0]), "disk.watermark");
}

TEST_F(CommandPosterTest, GivesUpOnADoorThatHasRoomAndStillRefuses) {
  door_.SetFull(true);
  door_.SetRoomAlways(true);
  Post(1);
  Post(2);
  EXPECT_EQ(owner_.refused.size(), 2u);
  EXPECT_EQ(owner_.posted, 2);
  door_.SetFull(false);
  Post(3);
  EXPECT_EQ(door_.Take<UnwatchCommand>().ticket, Ticket(3));
}

SessionMessage Deliveries(int count, const std::string& spec) {
  SessionMessage message;
  for (int i = 0; i < count; ++i) {
    Delivery& delivery = message.deliveries.emplace_back();
    delivery.task = TaskId(0, 1, static_cast<uint32_t>(i));
    delivery.spec = spec;
  }
  return message;
}

TEST(WorkStreamOutboxTest, MessagesTravelTogether) {
  WorkStreamOutbox outbox;
  SessionMessage message = Deliveries(2, "spec");
  message.acknowledged_frame = 4;
  outbox.Add(std::move(message));
  message = Deliveries(1, "spec");
  message.acknowledged_frame = 5;
  message.drain = true;
  outbox.Add(std::move(message));
  const WorkStreamOutbox::Frame frame = outbox.Take();
  EXPECT_EQ(frame.message.deliveries.size(), 3u);
  EXPECT_EQ(frame.message.acknowledged_frame, 5u);
  EXPECT_TRUE(frame.message.drain);
  EXPECT_TRUE(outbox.empty());
}

TEST(WorkStreamOutboxTest, FramesAreCutAtOneMebibyteOrOneDelivery) {
  WorkStreamOutbox outbox;
  const std::string large(600 << 10, 's');
  const std::string huge(3 << 20, 's');
  SessionMessage message = Deliveries(2, large);
  message.acknowledged_frame = 9;
  outbox.Add(std::move(message));
  outbox.Add(Deliveries(1, huge));
  WorkStreamOutbox::Frame frame = outbox.Take();
  EXPECT_EQ(frame.message.deliveries.size(), 1u);
  EXPECT_EQ(frame.message.acknowledged_frame, 0u);  // comes with the rest of its message
  frame = outbox.Take();
  EXPECT_EQ(frame.message.deliveries.size(), 1u);
  EXPECT_EQ(frame.message.acknowledged_frame, 9u);
  frame = outbox.Take();
  EXPECT_EQ(frame.message.deliveries.size(), 1u);
  EXPECT_TRUE(outbox.empty());
}

TEST(WorkStreamOutboxTest, LaterDeliveryDoesNotOvertakeACancellation) {
  WorkStreamOutbox outbox;
  SessionMessage cancel;
  cancel.cancelled_tasks.push_back(TaskId(0, 1, 0));
  outbox.Add(std::move(cancel));
  outbox.Add(Deliveries(1, "spec"));
  EXPECT_TRUE(outbox.Take().message.deliveries.empty());
  EXPECT_EQ(outbox.Take().message.deliveries.size(), 1u);
}

TEST(WorkStreamOutboxTest, NothingFollowsTheEnd) {
  WorkStreamOutbox outbox;
  SessionMessage last;
  last.acknowledged_frame = 3;
  last.end = absl::OkStatus();
  outbox.Add(std::move(last));
  outbox.Add(Deliveries(1, "spec"));
  const WorkStreamOutbox::Frame frame = outbox.Take();
  EXPECT_TRUE(frame.message.end.has_value());
  EXPECT_TRUE(frame.message.deliveries.empty());
}

TEST(WorkStreamOutboxTest, IsFullOfRefusalsThatNobodyReads) {
  WorkStreamOutbox outbox;
  outbox.AddInvalid(std::vector<v1::Refusal>(9'999));
  EXPECT_FALSE(outbox.full());
  SessionMessage message;
  message.refusals.emplace_back();
  outbox.Add(std::move(message));
  EXPECT_TRUE(outbox.full());
  EXPECT_EQ(outbox.Take().invalid.size(), 9'999u);
  EXPECT_FALSE(outbox.full());
}

StatusReply Totals(uint64_t enqueued, uint64_t finished) {
  StatusReply status;
  QueueView& queue = status.queues.emplace_back();
  queue.id = QueueId(1);
  queue.counters.enqueued_total = enqueued;
  queue.counters.completed_total = finished;
  return status;
}

TEST(RateMeterTest, AveragesOverTheLastTenSeconds) {
  ManualClock clock;
  RateMeter meter;
  meter.Sample(Totals(0, 0), clock.Read());
  EXPECT_EQ(meter.OfQueue(QueueId(1)).enqueue, 0);
  for (uint64_t second = 1; second <= 60; ++second) {
    clock.Advance(absl::Seconds(1));
    // 100 a second at first, later 40.
    const uint64_t enqueued = second <= 30 ? 100 * second : 3'000 + 40 * (second - 30);
    meter.Sample(Totals(enqueued, second), clock.Read());
  }
  EXPECT_DOUBLE_EQ(meter.OfQueue(QueueId(1)).enqueue, 40);
  EXPECT_DOUBLE_EQ(meter.OfQueue(QueueId(1)).finish, 1);
  EXPECT_DOUBLE_EQ(meter.OfAll().enqueue, 40);
  EXPECT_EQ(meter.OfQueue(QueueId(2)).enqueue, 0);
}

TEST(RateMeterTest, NewQueueCountsFromNothingAndADeletedOneNotAtAll) {
  ManualClock clock;
  RateMeter meter;
  meter.Sample(StatusReply(), clock.Read());
  clock.Advance(absl::Seconds(2));
  meter.Sample(Totals(50, 0), clock.Read());
  EXPECT_DOUBLE_EQ(meter.OfQueue(QueueId(1)).enqueue, 25);
  clock.Advance(absl::Seconds(2));
  meter.Sample(StatusReply(), clock.Read());
  EXPECT_EQ(meter.OfQueue(QueueId(1)).enqueue, 0);
  EXPECT_EQ(meter.OfAll().enqueue, 0);
}

TEST(ReadPoolTest, RunsWhatWasSubmittedBeforeItStops) {
  std::atomic<int> ran{0};
  ReadPool pool;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(pool.Submit([&] { ++ran; }).ok());
  pool.Stop();
  pool.Stop();
  EXPECT_EQ(ran, 100);
  EXPECT_TRUE(absl::IsUnavailable(pool.Submit([&] { ++ran; })));
}

TEST(ReadPoolTest, IsIdleWhenEverythingWasRead) {
  std::atomic<int> ran{0};
  ReadPool pool;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(pool.Submit([&] { ++ran; }).ok());
  pool.AwaitIdle();
  EXPECT_EQ(ran, 100);
}

TEST(ReadPoolTest, RefusesWhenTooManyWait) {
  ReadPool pool(0, 2);
  EXPECT_TRUE(pool.Submit([] {}).ok());
  EXPECT_TRUE(pool.Submit([] {}).ok());
  const absl::Status status = pool.Submit([] {});
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(LimitOf(status), "limits.reads");
}

TEST(PageTokenTest, ComesBackAsItWas) {
  const PageToken token{.phase = 7, .place = {1, UINT64_MAX, 3}};
  EXPECT_EQ(*PageToken::Parse(token.ToString()), token);
  EXPECT_EQ(*PageToken::Parse(""), PageToken());
  for (const std::string& bad : {std::string("x"), token.ToString() + "00", std::string(50, 'g')}) {
    EXPECT_EQ(FieldOf(PageToken::Parse(bad).status()), "page_token") << bad;
  }
}

TEST(StatusFeedTest, ThoseWhoComeMeanwhileShareTheNextQuestion) {
  TicketTable tickets;
  FakeDoor door(tickets);
  StatusFeed feed(door, tickets);
  std::vector<uint64_t> epochs;
  auto ask = [&] { feed.Get([&](const StatusFeed::Answer& answer) { epochs.push_back((*answer)->epoch); }); };
  ask();
  const Ticket first = door.Take<StatusCommand>().ticket;
  ask();
  ask();
  EXPECT_EQ(door.waiting(), 0u);
  StatusReply status;
  status.epoch = 1;
  door.Answer(first, status);
  const Ticket second = door.Take<StatusCommand>().ticket;
  status.epoch = 2;
  door.Answer(second, status);
  EXPECT_EQ(epochs, (std::vector<uint64_t>{1, 2, 2}));
  EXPECT_EQ(door.waiting(), 0u);
}

TEST(StatusFeedTest, RefusalReachesTheAsker) {
  TicketTable tickets;
  FakeDoor door(tickets);
  door.SetRefusal(absl::UnavailableError("stopping"));
  StatusFeed feed(door, tickets);
  absl::Status status;
  feed.Get([&](const StatusFeed::Answer& answer) { status = answer.status(); });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(tickets.size(), 0u);
}

class CountingCall : public OpenCall {
 public:
  void Stop() override { ++stops; }
  int stops = 0;
};

TEST(OpenCallsTest, StopsEveryOpenCallAndLaterOnesAtOnce) {
  OpenCalls calls;
  auto early = std::make_shared<CountingCall>();
  auto gone = std::make_shared<CountingCall>();
  calls.Add(early);
  calls.Add(gone);
  calls.Remove(gone.get());
  calls.StopAll();
  calls.StopAll();
  auto late = std::make_shared<CountingCall>();
  calls.Add(late);
  EXPECT_GE(early->stops, 1);
  EXPECT_EQ(gone->stops, 0);
  EXPECT_EQ(late->stops, 1);
}

TEST(OpenCallsTest, StopOfTheOpenOnesLetsLaterOnesGoOn) {
  OpenCalls calls;
  auto early = std::make_shared<CountingCall>();
  calls.Add(early);
  calls.StopOpen();
  auto late = std::make_shared<CountingCall>();
  calls.Add(late);
  EXPECT_EQ(early->stops, 1);
  EXPECT_EQ(late->stops, 0);
}

}  // namespace
}  // namespace penstock::broker
