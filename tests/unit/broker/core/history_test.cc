#include "broker/storage/history.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

FinishedTask Finished(uint32_t slot, std::string_view worker, std::string_view result) {
  FinishedTask task;
  task.task = TaskId(0, 5, slot);
  task.queue = QueueId(1);
  task.type = TypeId(2);
  task.priority = 7;
  task.token = FencingToken(100 + slot);
  task.worker = worker;
  task.create_time = 900;
  task.start_time = 950;
  task.content_type = "text/plain";
  task.result = result;
  return task;
}

TEST(HistoryTest, KeepsEveryTaskWithItsWorkerAndResult) {
  HistoryBuilder builder;
  builder.Add(Finished(0, "a", "r0"), 1'000);
  builder.Add(Finished(1, "b", ""), 1'000);
  builder.Add(Finished(2, "a", "r2"), 1'000);
  EXPECT_EQ(builder.TokenOf(TaskId(0, 5, 1)), FencingToken(101));
  EXPECT_EQ(builder.TokenOf(TaskId(0, 5, 3)), std::nullopt);
  const std::string body = builder.Finish(1'000);
  EXPECT_TRUE(builder.empty());
  std::vector<std::string> seen;
  ASSERT_TRUE(VisitHistory(body, [&](const FinishedTask& task) {
                seen.push_back(std::to_string(task.task.slot()) + std::string(task.worker) + std::string(task.result));
                EXPECT_EQ(task.create_time, 900);
                EXPECT_EQ(task.start_time, 950);
                EXPECT_EQ(task.end_time, 1'000);
                EXPECT_EQ(task.priority, 7);
                EXPECT_EQ(task.token, FencingToken(100 + task.task.slot()));
                return true;
              }).ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"0ar0", "1b", "2ar2"}));
}

TEST(HistoryTest, AVisitorMayStop) {
  HistoryBuilder builder;
  for (uint32_t slot = 0; slot < 3; ++slot) builder.Add(Finished(slot, "a", "r"), 1'000);
  int visits = 0;
  EXPECT_TRUE(VisitHistory(builder.Finish(1'000), [&](const FinishedTask&) { return ++visits < 2; }).ok());
  EXPECT_EQ(visits, 2);
}

TEST(HistoryTest, BrokenRecordsAreDataLoss) {
  HistoryBuilder builder;
  builder.Add(Finished(0, "a", "result"), 1'000);
  const std::string body = builder.Finish(1'000);
  for (size_t size = 1; size < body.size(); ++size) {
    int visits = 0;
    const absl::Status status = VisitHistory(body.substr(0, size), [&](const FinishedTask&) { return ++visits > 0; });
    EXPECT_TRUE(!status.ok() || visits == 0) << size;
  }
  // The last entry names a worker that is not in the list.
  HistoryBuilder other;
  other.Add(Finished(0, "a", "result"), 1'000);
  std::string nameless = other.Finish(1'000);
  nameless[2] = 0;       // workers: none
  nameless.erase(3, 2);  // "a"
  EXPECT_TRUE(absl::IsDataLoss(VisitHistory(nameless, [](const FinishedTask&) { return true; })));
}

TEST(HistoryTest, AddressesComeBack) {
  const std::vector<HistoryAddress> addresses = {{1, 2}, {UINT32_MAX, UINT64_MAX}, {0, 0}};
  auto decoded = DecodeAddresses(EncodeAddresses(addresses));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, addresses);
  EXPECT_FALSE(DecodeAddresses("\x01").ok());
}

}  // namespace
}  // namespace penstock::broker
