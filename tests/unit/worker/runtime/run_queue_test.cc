#include "worker/run_queue.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kStart = absl::Seconds(1'000);
absl::Duration At(int millis) { return kStart + absl::Milliseconds(millis); }

class RunQueueTest : public ::testing::Test {
 protected:
  void Add(uint32_t n, const std::string& type, int millis = 0) {
    TaskDelivery task;
    task.id = TaskId(0, 1, n);
    task.type = type;
    queue_.Add(std::move(task), At(millis));
  }
  std::vector<uint32_t> Take(int free_slots, int millis = 0) {
    std::vector<TaskDelivery> tasks;
    const bool ready = queue_.Ready(free_slots, At(millis));
    queue_.Take(free_slots, At(millis), &tasks);
    EXPECT_EQ(ready, !tasks.empty());
    std::vector<uint32_t> slots;
    for (const TaskDelivery& task : tasks) slots.push_back(task.id.slot());
    return slots;
  }
  absl::Duration NextDue(int free_slots, int millis) { return queue_.NextDue(free_slots, At(millis)); }

  RunQueue queue_{{{"b", {.max_size = 3, .max_wait = absl::Milliseconds(10)}},
                   {"c", {.max_size = 2, .max_wait = absl::Milliseconds(50)}},
                   {"now", {.max_size = 3, .max_wait = absl::ZeroDuration()}}}};
};

TEST_F(RunQueueTest, SingleTasksStartInOrder) {
  Add(1, "t");
  Add(2, "u");
  EXPECT_THAT(Take(0), IsEmpty());
  EXPECT_THAT(Take(5), ElementsAre(1));
  EXPECT_THAT(Take(5), ElementsAre(2));
  EXPECT_THAT(Take(5), IsEmpty());
  EXPECT_TRUE(queue_.empty());
}

TEST_F(RunQueueTest, BatchStartsWhenItIsFull) {
  Add(1, "b");
  Add(2, "b", 1);
  EXPECT_THAT(Take(5, 1), IsEmpty());
  EXPECT_EQ(NextDue(5, 1), At(10));
  Add(3, "b", 2);
  Add(4, "b", 3);
  EXPECT_THAT(Take(5, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(Take(5, 3), IsEmpty());
  EXPECT_EQ(NextDue(5, 3), At(13));
}

TEST_F(RunQueueTest, BatchStartsWhenItsFirstTaskHasWaited) {
  Add(1, "b");
  Add(2, "b", 9);
  EXPECT_THAT(Take(5, 9), IsEmpty());
  EXPECT_THAT(Take(5, 10), ElementsAre(1, 2));
}

TEST_F(RunQueueTest, WithoutAWaitItTakesWhatThereIs) {
  Add(1, "now");
  Add(2, "now");
  EXPECT_THAT(Take(1), ElementsAre(1));
  EXPECT_THAT(Take(5), ElementsAre(2));
}

TEST_F(RunQueueTest, GatheringBatchStandsInNobodysWay) {
  Add(1, "b");
  Add(2, "t", 1);
  EXPECT_THAT(Take(5, 1), ElementsAre(2));
  EXPECT_THAT(Take(5, 10), ElementsAre(1));
}

TEST_F(RunQueueTest, DueBatchesAndSingleTasksStartByAge) {
  Add(1, "t");
  Add(2, "b");
  Add(3, "b");
  Add(4, "t");
  Add(5, "b");
  EXPECT_THAT(Take(5), ElementsAre(1));
  EXPECT_THAT(Take(5), ElementsAre(2, 3, 5));
  EXPECT_THAT(Take(5), ElementsAre(4));
}

TEST_F(RunQueueTest, BatchWaitsForSlotsAndThoseBehindItWithIt) {
  Add(1, "b");
  Add(2, "b");
  Add(3, "b");
  Add(4, "t");
  EXPECT_THAT(Take(2), IsEmpty());
  EXPECT_EQ(NextDue(2, 0), At(10));
  EXPECT_THAT(Take(3), ElementsAre(1, 2, 3));
  EXPECT_THAT(Take(1), ElementsAre(4));
}

TEST_F(RunQueueTest, BatchThatHasWaitedForSlotsTakesWhatThereAre) {
  Add(1, "b");
  Add(2, "b");
  Add(3, "b");
  EXPECT_THAT(Take(2, 9), IsEmpty());
  EXPECT_THAT(Take(2, 10), ElementsAre(1, 2));
  // The rest is no full batch: it is due when its first task has waited, and then waits for nothing.
  EXPECT_THAT(Take(5, 10), ElementsAre(3));
}

TEST_F(RunQueueTest, NextDueIsTheEarliestThatCanHappen) {
  EXPECT_EQ(NextDue(5, 0), absl::InfiniteDuration());
  Add(1, "c");
  Add(2, "b", 5);
  EXPECT_EQ(NextDue(5, 5), At(15));
  EXPECT_EQ(NextDue(0, 5), absl::InfiniteDuration()) << "a slot that comes free is looked at anyway";
  Add(3, "b", 6);
  Add(4, "b", 7);
  EXPECT_EQ(NextDue(2, 7), At(17)) << "full, and waits for a third slot";
  EXPECT_THAT(Take(2, 17), ElementsAre(2, 3));
  EXPECT_EQ(NextDue(5, 16), At(17));
  EXPECT_THAT(Take(5, 17), ElementsAre(4));
  EXPECT_EQ(NextDue(5, 17), At(50));
}

TEST_F(RunQueueTest, ClearForgetsAll) {
  Add(1, "b");
  Add(2, "t");
  queue_.Clear();
  EXPECT_TRUE(queue_.empty());
  EXPECT_THAT(Take(5, 1'000), IsEmpty());
}

}  // namespace
}  // namespace penstock
