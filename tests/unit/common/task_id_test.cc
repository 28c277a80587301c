#include "common/task_id.h"

#include <string>

#include "gtest/gtest.h"

namespace penstock {
namespace {

TEST(TaskIdTest, PartsComeBack) {
  const TaskId id(255, TaskId::kBlockMax, TaskId::kSlotsMax - 1);
  EXPECT_EQ(id.value(), UINT64_MAX);
  EXPECT_EQ(id.partition(), 255);
  EXPECT_EQ(id.block(), TaskId::kBlockMax);
  EXPECT_EQ(id.slot(), TaskId::kSlotsMax - 1);
  const TaskId small(0, 7, 3);
  EXPECT_EQ(small.block(), 7u);
  EXPECT_EQ(small.slot(), 3u);
  EXPECT_FALSE(small.empty());
  EXPECT_TRUE(TaskId().empty());
}

TEST(TaskIdTest, TextComesBackAndSortsLikeTheNumbers) {
  std::string before;
  for (uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{31}, uint64_t{32}, uint64_t{1} << 60, UINT64_MAX}) {
    const std::string text = TaskId(value).ToString();
    EXPECT_EQ(text.size(), 13u);
    EXPECT_LT(before, text);
    EXPECT_EQ(TaskId::Parse(text), TaskId(value));
    before = text;
  }
  EXPECT_EQ(TaskId(1).ToString(), "0000000000001");
  EXPECT_EQ(TaskId(UINT64_MAX).ToString(), "fzzzzzzzzzzzz");
}

TEST(TaskIdTest, OtherTextIsRefused) {
  for (const char* text : {"", "1", "000000000000", "00000000000001", "000000000000i", "000000000000U", "000000000000A",
                           "g000000000000", "zzzzzzzzzzzzz", "00000000000 1"}) {
    EXPECT_EQ(TaskId::Parse(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace penstock
