#include "broker/engine_slot.h"

#include <memory>
#include <string>

#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/broker/engine/engine_fixture.h"

namespace penstock::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class EngineSlotTest : public EngineTest {
 protected:
  // The slot holds the fixture's engine, which outlives it.
  void Fill() {
    StartEngine();
    slot_.Set(std::shared_ptr<Engine>(&engine(), [](Engine*) {}), absl::OkStatus());
  }
  absl::Status PostToSlot(Command command) { return slot_.Post(std::move(command), 200); }

  EngineSlot slot_;
};

TEST_F(EngineSlotTest, BelowTheDiskWatermarkEnqueuesAreRefusedAndTasksStillGetDone) {
  Fill();
  const Ticket stream = Connect(10);
  EnqueueAndWait("running");
  const EffectRecorder::Delivered delivered = answers_.AwaitDeliveries(1)[0];

  slot_.RefuseEnqueues(LimitReached("disk.watermark", "free some space", absl::Seconds(30)));
  Command enqueue = Task(NewTicket(), "refused");
  const absl::Status refused = slot_.Post(std::move(enqueue), 200);
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(LimitOf(refused), "disk.watermark");
  EXPECT_EQ(RetryAfterOf(refused), absl::Seconds(30));
  EXPECT_EQ(std::get<EnqueueCommand>(enqueue).tasks.size(), 1u) << "a refused command is left as it was";
  ASSERT_TRUE(PostToSlot(Completion(stream, delivered)).ok());
  EXPECT_EQ(Counters().completed_total, 1u);
  EXPECT_EQ(Counters().enqueued_total, 1u);

  slot_.RefuseEnqueues(absl::OkStatus());
  const Ticket ticket = NewTicket();
  ASSERT_TRUE(PostToSlot(Task(ticket, "taken")).ok());
  EXPECT_TRUE(StatusOf(ticket).ok());
  EXPECT_THAT(slot_.rejects(), ElementsAre(Pair("disk.watermark", 1)));
}

TEST_F(EngineSlotTest, EmptySlotRefusesCommandsWithItsReasonAndHasNoStore) {
  EXPECT_TRUE(absl::IsUnavailable(PostToSlot(StatusCommand{NewTicket()})));
  EXPECT_EQ(slot_.Snapshot(), nullptr);
  Fill();
  EXPECT_NE(slot_.Snapshot(), nullptr);
  slot_.Set(nullptr, absl::UnavailableError("the broker is stopping"));
  EXPECT_EQ(PostToSlot(StatusCommand{NewTicket()}), absl::UnavailableError("the broker is stopping"));
  EXPECT_EQ(slot_.Snapshot(), nullptr);
  int rooms = 0;
  slot_.WhenRoom([&] { ++rooms; });
  EXPECT_EQ(rooms, 1) << "whoever waits for room must learn that there is no engine";
}

TEST_F(EngineSlotTest, CommandsReachTheNextEngineAfterAFailure) {
  Fill();
  store_.Fail(absl::ResourceExhaustedError("no space left"));
  const Ticket lost = NewTicket();
  ASSERT_TRUE(PostToSlot(Task(lost, "lost")).ok());
  EXPECT_TRUE(absl::IsUnavailable(StatusOf(lost)));
  AwaitFailure().IgnoreError();
  EXPECT_TRUE(absl::IsUnavailable(PostToSlot(StatusCommand{NewTicket()})));
  slot_.Set(nullptr, absl::UnavailableError("the storage refuses writes"));
  engine().Stop();
  store_.Fail(absl::OkStatus());
  Fill();
  const Ticket ticket = NewTicket();
  ASSERT_TRUE(PostToSlot(Task(ticket, "taken")).ok());
  EXPECT_TRUE(StatusOf(ticket).ok());
}

}  // namespace
}  // namespace penstock::broker
