#include "worker/batch_run.h"

#include <stdexcept>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;

class NoSink : public TaskContext::Sink {
 public:
  void OnProgress(TaskId, uint64_t, double, std::string) override {}
  void OnLog(TaskId, uint64_t, std::string) override {}
  void OnCheckpoint(TaskId, uint64_t, std::string) override {}
};

// Runs batches of tasks whose payloads are given, and keeps what happens in the order in which it happens.
class BatchRunTest : public ::testing::Test {
 protected:
  std::vector<std::string> Run(const RawBatchHandler& handler, const std::vector<std::string>& payloads) {
    const TaskDelivery delivery;
    std::vector<TaskContext> contexts;
    contexts.reserve(payloads.size());
    std::vector<RawBatchTask> tasks;
    for (const std::string& payload : payloads) {
      contexts.emplace_back(delivery, nullptr, absl::InfiniteFuture(), sink_);
      tasks.push_back({contexts.back(), payload});
    }
    std::vector<std::string> told;
    for (const Outcome& outcome : RunBatch(handler, tasks)) {
      told.push_back(outcome.kind() == Outcome::Kind::kDone ? outcome.result() : "error " + outcome.error().message);
    }
    return told;
  }
  // Returns each payload, and notes them.
  RawBatchHandler Echo() {
    return [this](std::span<const RawBatchTask> tasks) {
      std::string note = "batch";
      std::vector<Outcome> outcomes;
      for (const RawBatchTask& task : tasks) {
        note += " " + std::string(task.payload);
        outcomes.push_back(Outcome::Done(std::string(task.payload)));
      }
      notes_.push_back(note);
      return outcomes;
    };
  }
  Middleware Noting(const std::string& name) {
    return [this, name](TaskContext& context, std::string_view payload, const RawHandler& next) {
      notes_.push_back(name + " before " + std::string(payload));
      Outcome outcome = next(context, std::string(payload) + name);
      notes_.push_back(name + " after " + outcome.result());
      return outcome;
    };
  }

  NoSink sink_;
  std::vector<std::string> notes_;
};

TEST_F(BatchRunTest, MiddlewareWrapsEveryTaskAroundOneCall) {
  EXPECT_THAT(Run(WrapBatch(Echo(), {Noting("x"), Noting("y")}), {"1", "2"}), ElementsAre("1xy", "2xy"));
  EXPECT_THAT(notes_, ElementsAre("x before 1", "y before 1x", "x before 2", "y before 2x", "batch 1xy 2xy",
                                  "y after 2xy", "x after 2xy", "y after 1xy", "x after 1xy"));
}

TEST_F(BatchRunTest, TaskThatEndsInTheMiddlewareIsNotInTheBatch) {
  const Middleware refuse = [](TaskContext& context, std::string_view payload, const RawHandler& next) -> Outcome {
    if (payload == "2") return Outcome::Reject({"", "refused", ""});
    if (payload == "3") throw std::runtime_error("thrown");
    return next(context, payload);
  };
  EXPECT_THAT(Run(WrapBatch(Echo(), {refuse}), {"1", "2", "3", "4"}),
              ElementsAre("1", "error refused", "error thrown", "4"));
  EXPECT_THAT(notes_, ElementsAre("batch 1 4"));
  notes_.clear();
  EXPECT_THAT(Run(WrapBatch(Echo(), {refuse}), {"2"}), ElementsAre("error refused"));
  EXPECT_THAT(notes_, ElementsAre()) << "nobody is left to call the handler for";
}

TEST_F(BatchRunTest, WhatTheHandlerThrowsReachesEveryMiddleware) {
  const Middleware catches = [](TaskContext& context, std::string_view payload, const RawHandler& next) -> Outcome {
    try {
      return next(context, payload);
    } catch (const std::runtime_error& error) {
      if (payload == "2") return Outcome::Done("caught " + std::string(error.what()));
      throw;
    }
  };
  const RawBatchHandler throws = [](std::span<const RawBatchTask>) -> std::vector<Outcome> {
    throw std::runtime_error("boom");
  };
  EXPECT_THAT(Run(WrapBatch(throws, {catches}), {"1", "2"}), ElementsAre("error boom", "caught boom"));
}

TEST_F(BatchRunTest, SecondCallOfNextRunsTheTaskAlone) {
  const Middleware twice = [](TaskContext& context, std::string_view payload, const RawHandler& next) {
    Outcome first = next(context, payload);
    return payload == "1" ? next(context, "again") : first;
  };
  EXPECT_THAT(Run(WrapBatch(Echo(), {twice}), {"1", "2"}), ElementsAre("again", "2"));
  EXPECT_THAT(notes_, ElementsAre("batch 1 2", "batch again"));
}

TEST_F(BatchRunTest, WrongNumberOfOutcomesFailsAllThroughTheMiddlewareToo) {
  const RawBatchHandler one = [](std::span<const RawBatchTask>) { return std::vector<Outcome>{Outcome::Done("one")}; };
  const std::string problem = "error the batch handler returned 1 outcomes for 2 tasks; it has to return one for each";
  EXPECT_THAT(Run(one, {"1", "2"}), ElementsAre(problem, problem));
  EXPECT_THAT(Run(WrapBatch(one, {Noting("x")}), {"1", "2"}), ElementsAre(problem, problem));
}

// The most that a batch may have: the middleware of each is called within that of the one before.
TEST_F(BatchRunTest, AThousandTasksGoThroughTheMiddleware) {
  size_t most = 1'000;
#ifdef __has_feature
#if __has_feature(address_sanitizer)
  most = 100;  // frames are many times larger with it, and the stack is not
#endif
#endif
  const std::vector<std::string> payloads(most, "p");
  EXPECT_EQ(Run(WrapBatch(Echo(), {Noting("x"), Noting("y"), Noting("z")}), payloads).size(), most);
}

}  // namespace
}  // namespace penstock
