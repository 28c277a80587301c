#include "broker/storage/task_block.h"

#include <string>
#include <vector>

#include "common/coding.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

constexpr Time kNow = 1'800'000'000 * kSecond;

NewTask Plain(std::string_view spec) {
  NewTask task;
  task.spec = spec;
  return task;
}

std::shared_ptr<const TaskBlock> TwoLanes() {
  TaskBlockBuilder builder;
  const uint32_t a = builder.AddEntry({LaneId(11), QueueId(1), TypeId(2), 5});
  const uint32_t b = builder.AddEntry({LaneId(12), QueueId(1), TypeId(3), 9});
  builder.Add(a, Plain("one"), kNow);
  builder.Add(b, Plain("two"), kNow);
  NewTask rich = Plain("three");
  rich.run_at = kNow + kMinute;
  rich.expire_at = kNow + 2 * kMinute;
  rich.run_timeout = 7 * kSecond;
  rich.retry_policy =
      RetryPolicy{.max_attempts = 3, .initial_backoff = 5, .multiplier = 1.5, .max_backoff = 9, .jitter = 0.25};
  rich.unique_key = "key";
  rich.unique_window = 4 * kSecond;
  rich.result_retention = 0;
  builder.Add(a, rich, kNow);
  builder.Add(a, Plain(""), kNow);
  return builder.Finish(BlockId(77), kNow);
}

TEST(TaskBlockTest, KeepsWhatWasPutIn) {
  const auto block = TwoLanes();
  EXPECT_EQ(block->id(), BlockId(77));
  EXPECT_EQ(block->create_time(), kNow);
  ASSERT_EQ(block->slot_count(), 4u);
  EXPECT_EQ(block->lane_of(1).lane, LaneId(12));
  EXPECT_EQ(block->lane_of(1).priority, 9);
  EXPECT_EQ(block->spec(0), "one");
  EXPECT_EQ(block->spec(1), "two");
  EXPECT_EQ(block->spec(2), "three");
  EXPECT_EQ(block->spec(3), "");
  EXPECT_EQ(block->extras(0).expire_at, kNever);
  const SlotExtras& extras = block->extras(2);
  EXPECT_EQ(extras.run_at, kNow + kMinute);
  EXPECT_EQ(extras.expire_at, kNow + 2 * kMinute);
  EXPECT_EQ(extras.run_timeout, 7 * kSecond);
  EXPECT_EQ(
      extras.retry_policy,
      (RetryPolicy{.max_attempts = 3, .initial_backoff = 5, .multiplier = 1.5, .max_backoff = 9, .jitter = 0.25}));
  EXPECT_EQ(extras.unique_key, "key");
  EXPECT_EQ(extras.unique_window, 4 * kSecond);
  EXPECT_EQ(extras.result_retention, 0);
}

TEST(TaskBlockTest, APlainTaskIsEncodedAlikeBothWays) {
  TaskBlockBuilder one, other;
  for (TaskBlockBuilder* builder : {&one, &other}) builder->AddEntry({LaneId(11), QueueId(1), TypeId(2), 5});
  ASSERT_TRUE(Plain("spec").is_plain());
  EXPECT_EQ(one.Add(0, Plain("spec"), kNow), other.AddPlain(0, "spec"));
  EXPECT_EQ(one.Finish(BlockId(1), kNow)->body(), other.Finish(BlockId(1), kNow)->body());
}

// Whatever a slot keeps, or becomes something that a slot keeps.
TEST(TaskBlockTest, ATaskWithAnyOptionIsNotPlain) {
  const std::vector<void (*)(NewTask*)> options = {
      [](NewTask* task) { task->run_at = 1; },
      [](NewTask* task) { task->delay = 1; },
      [](NewTask* task) { task->expire_at = 1; },
      [](NewTask* task) { task->start_within = 1; },
      [](NewTask* task) { task->run_timeout = 1; },
      [](NewTask* task) { task->life_timeout = 1; },
      [](NewTask* task) { task->cost = 2; },
      [](NewTask* task) { task->unique_key = "key"; },
      [](NewTask* task) { task->result_retention = 0; },
      [](NewTask* task) { task->retry_policy = RetryPolicy(); },
      [](NewTask* task) { task->retry_change.max_attempts = 1; },
      [](NewTask* task) { task->retry_change.initial_backoff = 1; },
      [](NewTask* task) { task->retry_change.multiplier = 1; },
      [](NewTask* task) { task->retry_change.max_backoff = 1; },
      [](NewTask* task) { task->retry_change.jitter = 0; },
      [](NewTask* task) { task->retry_change.backoff = Backoff::kFixed; },
  };
  for (size_t i = 0; i < options.size(); ++i) {
    NewTask task = Plain("spec");
    options[i](&task);
    EXPECT_FALSE(task.is_plain()) << i;
  }
}

TEST(TaskBlockTest, KeepsLivesAndEveryKindOfBackoff) {
  for (const Backoff backoff : {Backoff::kExponential, Backoff::kLinear, Backoff::kFixed}) {
    TaskBlockBuilder builder;
    const uint32_t entry = builder.AddEntry({LaneId(11), QueueId(1), TypeId(2), 5});
    NewTask task = Plain("one");
    task.cost = 3;
    task.life_timeout = 90 * kSecond;
    task.retry_policy = RetryPolicy{.max_attempts = 3, .backoff = backoff};
    builder.Add(entry, task, kNow);
    builder.Add(entry, Plain("two"), kNow);
    const auto block = builder.Finish(BlockId(77), kNow);
    EXPECT_EQ(block->extras(0).cost, 3);
    EXPECT_EQ(block->extras(0).life_timeout, 90 * kSecond);
    EXPECT_EQ(block->extras(0).retry_policy->backoff, backoff);
    EXPECT_EQ(block->extras(1).life_timeout, 0);
    EXPECT_EQ(block->spec(1), "two");
  }
}

TEST(TaskBlockTest, FreshSlotsAreThoseThatAreNotScheduled) {
  const auto block = TwoLanes();
  const auto a = block->FreshSlots(0);
  EXPECT_EQ(std::vector<uint16_t>(a.begin(), a.end()), (std::vector<uint16_t>{0, 3}));
  const auto b = block->FreshSlots(1);
  EXPECT_EQ(std::vector<uint16_t>(b.begin(), b.end()), (std::vector<uint16_t>{1}));
}

TEST(TaskBlockTest, TheBuilderStartsAnewAfterABlock) {
  TaskBlockBuilder builder;
  for (uint64_t id = 1; id <= 2; ++id) {
    EXPECT_TRUE(builder.empty());
    EXPECT_EQ(builder.Add(builder.AddEntry({LaneId(1), QueueId(1), TypeId(1), 5}), Plain("x"), kNow), 0u);
    EXPECT_EQ(builder.Finish(BlockId(id), kNow)->entries().size(), 1u);
  }
}

TEST(TaskBlockTest, AFullBlockHoldsEverySlot) {
  TaskBlockBuilder builder;
  const uint32_t entry = builder.AddEntry({LaneId(1), QueueId(1), TypeId(1), 5});
  while (!builder.full()) builder.Add(entry, Plain("x"), kNow);
  const auto block = builder.Finish(BlockId(1), kNow);
  EXPECT_EQ(block->slot_count(), TaskId::kSlotsMax);
  EXPECT_EQ(block->FreshSlots(0).back(), TaskId::kSlotsMax - 1);
}

TEST(TaskBlockTest, CompactingDropsPayloadsAndKeepsTheRest) {
  const auto block = TwoLanes();
  auto compacted = TaskBlock::Parse(block->Compact([](uint32_t slot) { return slot < 2; }));
  ASSERT_TRUE(compacted.ok());
  EXPECT_TRUE((*compacted)->dropped(0));
  EXPECT_TRUE((*compacted)->dropped(1));
  EXPECT_FALSE((*compacted)->dropped(2));
  EXPECT_EQ((*compacted)->spec(0), "");
  EXPECT_EQ((*compacted)->spec(2), "three");
  EXPECT_EQ((*compacted)->extras(2).unique_key, "key");
  EXPECT_EQ((*compacted)->lane_of(1).lane, LaneId(12));
  EXPECT_EQ((*compacted)->FreshSlots(0).size(), 2u);
  // Twice: what was dropped stays so.
  auto again = TaskBlock::Parse((*compacted)->Compact([](uint32_t slot) { return slot == 3; }));
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE((*again)->dropped(0));
  EXPECT_EQ((*again)->spec(2), "three");
}

TEST(TaskBlockTest, BrokenBytesAreDataLossNotACrash) {
  const std::string body = TwoLanes()->body();
  for (size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(TaskBlock::Parse(body.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(TaskBlock::Parse(body + "x").ok());
  for (size_t at = 0; at < body.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string broken = body;
      broken[at] = static_cast<char>(broken[at] ^ (1 << bit));
      auto block = TaskBlock::Parse(broken);  // the envelope's checksum finds these; here nothing may go astray
      if (!block.ok()) continue;
      for (uint32_t slot = 0; slot < (*block)->slot_count(); ++slot) (void)(*block)->spec(slot);
    }
  }
}

}  // namespace
}  // namespace penstock::broker
