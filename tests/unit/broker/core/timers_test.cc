#include "broker/core/timers.h"

#include <map>
#include <random>
#include <string>
#include <utility>

#include "broker/storage/memory_store.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

class TimersTest : public ::testing::Test {
 protected:
  TimersTest() {
    queue_ = context_.state.AddQueue(QueueId(1), "q");
    lane_ = context_.state.CreateLane({QueueId(1), TypeId(1), 5}, 0);
    context_.now.wall = 1'000;
  }
  // As the core ends a batch.
  void Commit() {
    timers_.Flush();
    context_.state.ClearChanges();
    CommitBatch batch = context_.commit.Seal();
    ASSERT_TRUE(store_.Commit(batch, true).ok());
    context_.commit.Committed();
  }
  int StoredTimers() {
    int count = 0;
    EXPECT_TRUE(store_.Scan(Family::kIndex, "", "", [&](auto, auto) { return ++count > 0; }).ok());
    return count;
  }
  static TaskId Task(uint64_t block, uint32_t slot = 0) { return TaskId(0, block, slot); }

  MemoryStore store_;
  CoreContext context_{CoreOptions(), store_};
  Timers timers_{context_};
  QueueState* queue_;
  Lane* lane_;
};

TEST_F(TimersTest, NothingIsDueBeforeItsTime) {
  timers_.Add(lane_, 2'000, Task(1), 3, TimerKind::kScheduled);
  EXPECT_EQ(timers_.next_wake(), 2'000);
  EXPECT_EQ(queue_->counters.scheduled, 3u);
  context_.now.wall = 1'999;
  EXPECT_TRUE(timers_.Advance());
  EXPECT_FALSE(timers_.Peek(lane_));
  context_.now.wall = 2'000;
  EXPECT_TRUE(timers_.Advance());
  EXPECT_EQ(timers_.next_wake(), kNever);
  EXPECT_EQ(queue_->counters.scheduled, 0u);
  EXPECT_EQ(queue_->counters.available, 3u);
  for (uint32_t slot = 0; slot < 3; ++slot) {
    ASSERT_TRUE(timers_.Peek(lane_));
    EXPECT_EQ(timers_.Peek(lane_)->position.task, Task(1, slot));
    timers_.Take(lane_);
  }
  EXPECT_FALSE(timers_.Peek(lane_));
  Commit();
  EXPECT_EQ(StoredTimers(), 0);
}

TEST_F(TimersTest, ARunPartlyTakenIsStoredAsItsRest) {
  timers_.Add(lane_, 1'500, Task(1), 100, TimerKind::kScheduled);
  Commit();
  context_.now.wall = 1'500;
  timers_.Advance();
  for (int batch = 0; batch < 10; ++batch) {
    for (int i = 0; i < 9; ++i) {
      ASSERT_EQ(timers_.Peek(lane_)->position.task, Task(1, static_cast<uint32_t>(batch * 9 + i)));
      timers_.Take(lane_);
    }
    Commit();
    EXPECT_EQ(StoredTimers(), 1);
    lane_->head = nullptr;  // as after a recovery
  }
  EXPECT_EQ(lane_->timed_due(), 10u);
}

TEST_F(TimersTest, ARestoredLaneWakesForWhatIsNotYetDue) {
  timers_.Add(lane_, 1'500, Task(1), 2, TimerKind::kScheduled);
  timers_.Add(lane_, 3'000, Task(2), 1, TimerKind::kRetryable);
  context_.now.wall = 2'000;
  timers_.Advance();
  Commit();
  Timers restored(context_);
  lane_->timers->wake = kNever;
  restored.Restore(lane_);
  EXPECT_EQ(restored.next_wake(), 3'000);
}

TEST_F(TimersTest, ManyRunsAreAdvancedInBoundedSteps) {
  for (uint64_t block = 1; block <= 3'000; ++block) timers_.Add(lane_, 2'000, Task(block), 1, TimerKind::kRetryable);
  Commit();
  context_.now.wall = 2'000;
  int steps = 1;
  while (!timers_.Advance()) ++steps;
  EXPECT_GE(steps, 3);
  EXPECT_EQ(queue_->counters.available, 3'000u);
  EXPECT_EQ(lane_->timed_due(), 3'000u);
}

TEST_F(TimersTest, DroppedLanesWakeNobody) {
  timers_.Add(lane_, 2'000, Task(1), 1, TimerKind::kScheduled);
  timers_.Drop(lane_);
  EXPECT_EQ(timers_.next_wake(), kNever);
}

// Random additions, removals, takes and batches, against a sorted map.
TEST_F(TimersTest, TasksComeInTheOrderOfTheirTimes) {
  std::mt19937_64 random(11);
  context_.now.wall = 1'000'000;
  auto draw = [&](uint64_t n) { return random() % n; };
  std::map<std::pair<Time, TaskId>, TimerKind> model;
  std::map<std::pair<Time, TaskId>, TimerKind> single;  // those with a key of their own
  uint64_t block = 1;
  for (int step = 0; step < 20'000; ++step) {
    switch (draw(7)) {
      case 0:
      case 1: {
        // Given back tasks have a time in the past and an old id; scheduled ones the newest block.
        const auto kind = static_cast<TimerKind>(draw(3));
        const bool past = kind == TimerKind::kReturned;
        const Time due = past ? context_.now.wall - static_cast<Time>(draw(2'000))
                              : context_.now.wall + static_cast<Time>(1 + draw(500));
        const uint32_t count = kind == TimerKind::kScheduled ? static_cast<uint32_t>(1 + draw(9)) : 1;
        ++block;
        const TaskId task = Task(past ? 1'000'000 - block : block);
        timers_.Add(lane_, due, task, count, kind);
        for (uint32_t slot = 0; slot < count; ++slot) model[{due, TaskId(task.value() + slot)}] = kind;
        if (kind != TimerKind::kScheduled) single[{due, task}] = kind;
        break;
      }
      case 2:
        if (!single.empty()) {
          auto chosen = single.begin();
          std::advance(chosen, static_cast<std::ptrdiff_t>(draw(single.size())));
          timers_.Remove(lane_, chosen->first.first, chosen->first.second, chosen->second);
          model.erase(chosen->first);
          single.erase(chosen);
        }
        break;
      case 3:
        context_.now.wall += static_cast<Time>(draw(50));
        break;
      case 4:
        Commit();
        if (draw(4) == 0) lane_->head = nullptr;
        break;
      default: {
        while (!timers_.Advance()) {
        }
        auto run = timers_.Peek(lane_);
        if (model.empty() || model.begin()->first.first > context_.now.wall) {
          ASSERT_FALSE(run) << "step " << step;
          break;
        }
        ASSERT_TRUE(run) << "step " << step;
        ASSERT_EQ(std::make_pair(run->position.due, run->position.task), model.begin()->first) << "step " << step;
        timers_.Take(lane_);
        single.erase(model.begin()->first);
        model.erase(model.begin());
      }
    }
    ASSERT_EQ(lane_->timed_count(), model.size()) << "step " << step;
  }
  uint64_t due = 0;
  while (!timers_.Advance()) {
  }
  for (const auto& [position, kind] : model) due += position.first <= context_.now.wall;
  EXPECT_EQ(lane_->timed_due(), due);
  EXPECT_EQ(queue_->counters.available, due);
}

}  // namespace
}  // namespace penstock::broker
