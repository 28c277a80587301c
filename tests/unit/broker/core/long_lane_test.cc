// A lane of so many blocks that it is stored away in segments.

#include <string>
#include <vector>

#include "broker/storage/keys.h"
#include "gtest/gtest.h"
#include "tests/support/core_driver.h"

namespace penstock::broker {
namespace {

class LongLaneTest : public ::testing::Test {
 protected:
  LongLaneTest() : driver_(Options()) { driver_.set_check_every(50); }

  static CoreOptions Options() {
    CoreOptions options;
    options.checkpoint_bytes = 4'000;
    options.block_cache_bytes = 2'000;
    options.max_tasks_per_worker = 10'000;
    return options;
  }
  // Each in a batch, so in a block, of its own.
  void Enqueue(int count) {
    for (int i = 0; i < count; ++i) {
      EnqueueCommand command;
      command.ticket = driver_.NewTicket();
      NewTask task;
      task.queue = "q";
      task.type = "t";
      task.spec = "spec";
      command.tasks = {task};
      Effects effects = driver_.Step(Command(std::move(command)));
      enqueued_.push_back(std::get<EnqueueReply>(effects.replies.at(0).value).results.at(0).task);
    }
  }
  void Connect() {
    OpenSessionCommand open;
    open.stream = stream_ = driver_.NewTicket();
    open.session_id = "secret" + std::to_string(++sessions_);
    open.worker_name = "w";
    open.queues = {"q"};
    open.types = {{"t", 0}};
    open.concurrency = 10'000;
    driver_.Step(Command(open));
  }
  // Takes tasks and completes them.
  void Take(uint32_t count) {
    SessionInput input;
    input.stream = stream_;
    input.credit = count;
    Effects effects = driver_.Step(Command(std::move(input)));
    SessionInput done;
    done.stream = stream_;
    for (const SessionMessage& message : effects.session_messages) {
      for (const Delivery& delivery : message.deliveries) {
        delivered_.push_back(delivery.task);
        TaskOutcome outcome;
        outcome.task = delivery.task;
        outcome.token = delivery.token;
        done.outcomes.push_back(outcome);
      }
    }
    driver_.Step(Command(std::move(done)));
  }
  int Segments() {
    const Keys keys(0);
    int count = 0;
    EXPECT_TRUE(driver_.store()
                    .Scan(Family::kIndex, keys.First('S'), keys.Past('S'), [&](auto, auto) { return ++count > 0; })
                    .ok());
    return count;
  }
  void ExpectInOrder() {
    ASSERT_EQ(delivered_.size(), enqueued_.size());
    EXPECT_EQ(delivered_, enqueued_);
  }

  CoreDriver driver_;
  Ticket stream_;
  int sessions_ = 0;
  std::vector<TaskId> enqueued_;
  std::vector<TaskId> delivered_;
};

TEST_F(LongLaneTest, SpillsAndComesBackInOrder) {
  Connect();
  Enqueue(1'400);
  EXPECT_GE(Segments(), 2) << "memory does not grow with the backlog, though nobody takes from it";
  while (delivered_.size() < enqueued_.size()) Take(37);
  ExpectInOrder();
  driver_.Crash();  // a start writes a checkpoint, and deletes what only a replay could still need
  EXPECT_EQ(Segments(), 0);
}

TEST_F(LongLaneTest, SurvivesCrashesAtEveryStageWithMoreComingIn) {
  for (int round = 0; round < 12; ++round) {
    Connect();
    Enqueue(300);
    Take(round % 3 == 0 ? 10 : 290);
    EXPECT_EQ(driver_.core().DebugState(), driver_.RecoveredState());
    EXPECT_EQ(driver_.Recount(), "");
    driver_.Crash();
  }
  driver_.Advance(31 * kSecond);
  Connect();
  while (delivered_.size() < enqueued_.size()) {
    const size_t before = delivered_.size();
    Take(500);
    ASSERT_GT(delivered_.size(), before);
  }
  ExpectInOrder();
}

TEST_F(LongLaneTest, AListGoesOnAtAnyBlock) {
  Enqueue(1'400);
  ASSERT_GE(Segments(), 2);
  std::vector<BlockId> listed;
  ListLanesCommand list;
  list.queue = "q";
  list.max_runs = 37;
  while (true) {
    list.ticket = driver_.NewTicket();
    Effects effects = driver_.Step(Command(list));
    const LanesReply& reply = std::get<LanesReply>(effects.replies.at(0).value);
    for (const LaneView& lane : reply.lanes) {
      for (const LaneRun& run : lane.runs) listed.push_back(run.block);
    }
    if (!reply.more) break;
    list.from_lane = reply.next_lane;
    list.from_block = reply.next_block;
  }
  std::vector<BlockId> all;
  for (TaskId task : enqueued_) all.emplace_back(task.block());
  EXPECT_EQ(listed, all);
}

TEST_F(LongLaneTest, PurgedAsAWholeItLeavesNothing) {
  Connect();
  Enqueue(1'200);
  Take(100);
  QueueCommand purge;
  purge.ticket = driver_.NewTicket();
  purge.verb = QueueVerb::kPurge;
  purge.queue = "q";
  driver_.Step(Command(purge));
  driver_.Crash();
  Enqueue(700);
  driver_.Step();
  driver_.Crash();
  driver_.Advance(31 * kSecond);
  EXPECT_EQ(driver_.Recount(), "");
  Connect();
  delivered_.clear();
  enqueued_.erase(enqueued_.begin(), enqueued_.begin() + 1'200);
  while (delivered_.size() < enqueued_.size()) Take(300);
  ExpectInOrder();
  driver_.Crash();
  EXPECT_EQ(Segments(), 0);
  int blocks = 0;
  ASSERT_TRUE(driver_.store().Scan(Family::kBlocks, "", "", [&](auto, auto) { return ++blocks > 0; }).ok());
  EXPECT_EQ(blocks, 0);
}

TEST_F(LongLaneTest, CancelledInTheMiddleItGoesOnBehind) {
  Connect();
  Enqueue(900);
  for (size_t i = 100; i < 800; ++i) driver_.Step(Command(CancelTaskCommand{driver_.NewTicket(), enqueued_[i], ""}));
  EXPECT_EQ(driver_.Recount(), "");
  driver_.Crash();
  Connect();
  enqueued_.erase(enqueued_.begin() + 100, enqueued_.begin() + 800);
  while (delivered_.size() < enqueued_.size()) {
    const size_t before = delivered_.size();
    Take(150);
    ASSERT_GT(delivered_.size(), before);
  }
  ExpectInOrder();
}

}  // namespace
}  // namespace penstock::broker
