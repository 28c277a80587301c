#include "worker/fencing.h"

#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace penstock {
namespace {

TEST(FencingTokenTest, TextsAreInTheOrderOfTheTokens) {
  const uint64_t values[] = {0, 1, 9, 10, 1'099'511'627'777, std::numeric_limits<uint64_t>::max()};
  std::string before;
  for (uint64_t value : values) {
    const FencingToken token(value);
    const std::string text = token.ToText();
    EXPECT_EQ(text.size(), 20u);
    EXPECT_LT(before, text);
    EXPECT_EQ(FencingToken::Parse(text), token);
    EXPECT_EQ(FencingToken::Parse(std::to_string(value)), token);
    before = text;
  }
}

TEST(FencingTokenTest, OtherTextsAreNoTokens) {
  for (const char* text :
       {"", " 1", "1 ", "-1", "+1", "01", "0x1", "1.0", "18446744073709551616", "000000000000000000001"}) {
    EXPECT_FALSE(FencingToken::Parse(text).has_value()) << text;
  }
}

TEST(FencingTokenTest, ComesFromTheContext) {
  class NoSink : public TaskContext::Sink {
    void OnProgress(TaskId, uint64_t, double, std::string) override {}
    void OnLog(TaskId, uint64_t, std::string) override {}
    void OnCheckpoint(TaskId, uint64_t, std::string) override {}
  } sink;
  TaskDelivery task;
  task.fencing_token = (uint64_t{3} << 40) + 7;
  const FencingToken token{TaskContext(task, nullptr, absl::InfiniteFuture(), sink)};
  EXPECT_EQ(token.value(), task.fencing_token);
  EXPECT_EQ(token.ForSql(), static_cast<int64_t>(task.fencing_token));
  EXPECT_GT(token.ForSql(), 0);
}

TEST(FencedRegisterTest, OlderTokensAreRefusedByResource) {
  FencedRegister fences;
  EXPECT_TRUE(fences.Admit("a", FencingToken(5)).ok());
  EXPECT_TRUE(fences.Admit("a", FencingToken(5)).ok()) << "a run writes as often as it likes";
  EXPECT_TRUE(fences.Admit("b", FencingToken(4)).ok());
  const absl::Status stale = fences.Admit("a", FencingToken(4));
  EXPECT_TRUE(absl::IsFailedPrecondition(stale));
  EXPECT_EQ(std::string(stale.message()), "fencing token 4 is stale: a has seen 5");
  EXPECT_TRUE(fences.Admit("a", FencingToken(6)).ok());
  EXPECT_FALSE(fences.Admit("a", FencingToken(5)).ok());
  EXPECT_EQ(fences.NewestOf("a"), FencingToken(6));
  EXPECT_EQ(fences.NewestOf("c"), FencingToken());
}

TEST(FencedRegisterTest, StaleWriteIsNotDone) {
  FencedRegister fences;
  std::string value;
  EXPECT_TRUE(fences.Write("a", FencingToken(2), [&] { value = "new"; }).ok());
  EXPECT_FALSE(fences.Write("a", FencingToken(1), [&] { value = "old"; }).ok());
  EXPECT_EQ(value, "new");
  EXPECT_THROW((void)fences.Write("a", FencingToken(3), [] { throw std::runtime_error("disk"); }), std::runtime_error);
  EXPECT_FALSE(fences.Write("a", FencingToken(2), [&] { value = "late"; }).ok()) << "it may have written a part";
}

TEST(FencedRegisterTest, WhatIsForgottenStillRefusesOlderTokens) {
  FencedRegister fences(2);
  EXPECT_TRUE(fences.Admit("a", FencingToken(5)).ok());
  EXPECT_TRUE(fences.Admit("b", FencingToken(7)).ok());
  EXPECT_TRUE(fences.Admit("c", FencingToken(9)).ok());
  EXPECT_EQ(fences.size(), 2u) << "a is forgotten";
  EXPECT_FALSE(fences.Admit("a", FencingToken(4)).ok());
  EXPECT_FALSE(fences.Admit("new", FencingToken(4)).ok()) << "it could be a's";
  EXPECT_FALSE(fences.Admit("b", FencingToken(6)).ok());
  EXPECT_TRUE(fences.Admit("a", FencingToken(6)).ok()) << "and forgotten at once, the smallest being its own";
  EXPECT_EQ(fences.size(), 2u);
  EXPECT_FALSE(fences.Admit("a", FencingToken(5)).ok());
}

TEST(FencedRegisterTest, ConcurrentWritesLeaveTheNewest) {
  FencedRegister fences;
  uint64_t written = 0;  // guarded by the register
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 1'000; ++i) {
        const uint64_t token = i * 4 + t;
        const absl::Status status = fences.Write("a", FencingToken(token), [&] {
          EXPECT_GE(token, written);
          written = token;
        });
        EXPECT_TRUE(status.ok() || absl::IsFailedPrecondition(status));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(written, 3'999u);
}

}  // namespace
}  // namespace penstock
