#include "worker/executor.h"

#include <atomic>
#include <functional>
#include <set>
#include <stdexcept>

#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/follow_ups.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// Keeps what it is told; tests wait for it.
class Recorder : public Executor::Observer {
 public:
  struct End {
    TaskId task;
    Outcome outcome;
  };

  std::vector<bool> OnTurn(std::span<Executor::Ended> ended, std::span<const TaskDelivery> next) override {
    MutexLock lock(mu_);
    for (Executor::Ended& run : ended) ends_.push_back({run.task, std::move(run.outcome)});
    std::vector<bool> start;
    for (const TaskDelivery& task : next) {
      start.push_back(!unwanted_.contains(task.id));
      (start.back() ? starts_ : refused_).push_back(task.id);
    }
    changed_.SignalAll();
    return start;
  }
  void OnProgress(TaskId, uint64_t, double, std::string text) override { Say(std::move(text)); }
  void OnLog(TaskId, uint64_t, std::string line) override { Say(std::move(line)); }
  void OnCheckpoint(TaskId, uint64_t, std::string checkpoint) override { Say("checkpoint " + checkpoint); }

  void Refuse(TaskId task) {
    MutexLock lock(mu_);
    unwanted_.insert(task);
  }
  std::vector<End> WaitForEnds(size_t count) {
    MutexLock lock(mu_);
    while (ends_.size() < count) changed_.Wait(mu_);
    return ends_;
  }
  void WaitForStarts(size_t count) {
    MutexLock lock(mu_);
    while (starts_.size() < count) changed_.Wait(mu_);
  }
  void WaitForRefusals(size_t count) {
    MutexLock lock(mu_);
    while (refused_.size() < count) changed_.Wait(mu_);
  }
  std::vector<TaskId> starts() {
    MutexLock lock(mu_);
    return starts_;
  }
  std::vector<std::string> said() {
    MutexLock lock(mu_);
    return said_;
  }

 private:
  void Say(std::string text) {
    MutexLock lock(mu_);
    said_.push_back(std::move(text));
  }

  Mutex mu_;
  CondVar changed_;
  std::vector<TaskId> starts_ ABSL_GUARDED_BY(mu_);
  std::vector<TaskId> refused_ ABSL_GUARDED_BY(mu_);
  std::vector<End> ends_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> said_ ABSL_GUARDED_BY(mu_);
  std::set<TaskId> unwanted_ ABSL_GUARDED_BY(mu_);
};

TaskId Task(uint32_t n) { return TaskId(0, 1, n); }

TaskDelivery Delivery(uint32_t n, std::string type = "t", std::string payload = {}) {
  TaskDelivery task;
  task.id = Task(n);
  task.fencing_token = 100 + n;
  task.type = std::move(type);
  task.payload = std::move(payload);
  return task;
}

struct Fixture {
  explicit Fixture(int threads, RawHandler handler) : executor(threads, {{"t", std::move(handler)}}, recorder) {}
  std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
  Executor executor;
};

TEST(ExecutorTest, EveryTaskRunsOnce) {
  std::atomic<int> runs = 0;
  Fixture it(8, [&](TaskContext&, std::string_view payload) {
    ++runs;
    return Outcome::Done(std::string(payload));
  });
  constexpr uint32_t kTasks = 10'000;
  for (uint32_t n = 0; n < kTasks; n += 100) {
    std::vector<TaskDelivery> tasks;
    for (uint32_t i = n; i < n + 100; ++i) tasks.push_back(Delivery(i, "t", std::to_string(i)));
    it.executor.Submit(std::move(tasks));
  }
  std::set<TaskId> ended;
  for (const auto& end : it.recorder->WaitForEnds(kTasks)) {
    EXPECT_EQ(end.outcome.result(), std::to_string(end.task.slot()));
    ended.insert(end.task);
  }
  EXPECT_THAT(ended, SizeIs(kTasks));
  EXPECT_EQ(runs, static_cast<int>(kTasks));
}

TEST(ExecutorTest, LongTasksReachAllThreads) {
  // Each waits until all four run.
  Mutex mu;
  CondVar changed;
  int running = 0;
  Fixture it(4, [&](TaskContext&, std::string_view) {
    MutexLock lock(mu);
    ++running;
    changed.SignalAll();
    while (running < 4) changed.Wait(mu);
    return Outcome::Done();
  });
  it.executor.Submit({Delivery(1), Delivery(2), Delivery(3), Delivery(4)});
  it.recorder->WaitForEnds(4);
}

TEST(ExecutorTest, ExceptionIsARetryWithItsTypeAndText) {
  Fixture it(1, [](TaskContext&, std::string_view payload) -> Outcome {
    if (payload == "std") throw std::out_of_range("far");
    if (payload == "int") throw 7;
    return Outcome::Done();
  });
  it.executor.Submit({Delivery(1, "t", "std"), Delivery(2, "t", "int"), Delivery(3), Delivery(4, "strange")});
  auto ends = it.recorder->WaitForEnds(4);
  EXPECT_EQ(ends[0].outcome.kind(), Outcome::Kind::kRetry);
  EXPECT_EQ(ends[0].outcome.error().type, "std::out_of_range");
  EXPECT_EQ(ends[0].outcome.error().message, "far");
  EXPECT_EQ(ends[1].outcome.error().type, "int");
  EXPECT_EQ(ends[2].outcome.kind(), Outcome::Kind::kDone);
  EXPECT_EQ(ends[3].outcome.error().type, "no handler");
}

TEST(ExecutorTest, CancelReachesTheRunThatItNames) {
  Fixture it(2, [](TaskContext& context, std::string_view payload) {
    std::atomic<bool> called = false;
    std::stop_callback callback(context.stop_token(), [&] { called = true; });
    while (!context.WaitForCancel(absl::Minutes(1))) {
    }
    EXPECT_TRUE(context.stop_token().stop_requested());
    return Outcome::Done(context.cancel_reason() == CancelReason::kTimeout ? "timeout" : "cancelled");
  });
  // The same task twice, under two leases.
  TaskDelivery newer = Delivery(1);
  newer.fencing_token = 999;
  it.executor.Submit({Delivery(1), newer});
  it.recorder->WaitForStarts(2);
  it.executor.Cancel(Task(1), 1, CancelReason::kCancelled);  // no such run
  it.executor.Cancel(Task(1), 999, CancelReason::kTimeout);
  it.executor.Cancel(Task(1), 999, CancelReason::kCancelled);  // the first counts
  EXPECT_EQ(it.recorder->WaitForEnds(1)[0].outcome.result(), "timeout");
  it.executor.Cancel(Task(1), 101, CancelReason::kCancelled);
  EXPECT_EQ(it.recorder->WaitForEnds(2)[1].outcome.result(), "cancelled");
}

// A handler that ends because it is told to must not use up its task's attempt, whatever it says.
TEST(ExecutorTest, OfACancelledRunOnlyACompletionCounts) {
  Fixture it(1, [](TaskContext& context, std::string_view payload) -> Outcome {
    while (!context.WaitForCancel(absl::Minutes(1))) {
    }
    if (payload == "throw") throw std::runtime_error("interrupted");
    if (payload == "done") return Outcome::Done("result");
    if (payload == "reject") return Outcome::Reject({"stopping", "", ""});
    if (payload == "snooze") return Outcome::Snooze(absl::Minutes(1), CoolScope::kQueue);
    if (payload == "release") return Outcome::Release();
    if (payload == "cancelled") return Outcome::Cancelled();
    return Outcome::RetryAfter(absl::Minutes(1), {"stopping", "", ""});
  });
  uint32_t n = 0;
  for (const CancelReason reason :
       {CancelReason::kShutdown, CancelReason::kCancelled, CancelReason::kLeaseLost, CancelReason::kTimeout}) {
    for (const char* how : {"throw", "reject", "snooze", "release", "cancelled", "retry", "done"}) {
      it.executor.Submit({Delivery(++n, "t", how)});
      it.recorder->WaitForStarts(n);
      it.executor.Cancel(Task(n), 100 + n, reason);
      const Outcome outcome = it.recorder->WaitForEnds(n).back().outcome;
      const Outcome::Kind kind = how == std::string("done")          ? Outcome::Kind::kDone
                                 : reason == CancelReason::kShutdown ? Outcome::Kind::kRelease
                                                                     : Outcome::Kind::kCancelled;
      EXPECT_EQ(outcome.kind(), kind) << how << " reason " << static_cast<int>(reason);
      EXPECT_EQ(outcome.cool(), CoolScope::kTask) << how;
    }
  }
}

TEST(ExecutorTest, UnwantedTaskDoesNotRun) {
  Fixture it(1, [](TaskContext& context, std::string_view) { return Outcome::Done(context.id().ToString()); });
  it.recorder->Refuse(Task(1));
  it.executor.Submit({Delivery(1), Delivery(2)});
  EXPECT_EQ(it.recorder->WaitForEnds(1)[0].task, Task(2));
  EXPECT_THAT(it.recorder->starts(), ElementsAre(Task(2)));
  it.recorder->WaitForRefusals(1);
}

TEST(ExecutorTest, ClearedTasksDoNotRun) {
  std::atomic<bool> open = false;
  Fixture it(1, [&](TaskContext& context, std::string_view) {
    context.Log("line");
    context.Progress(10, "text");
    while (!open) context.WaitForCancel(absl::Milliseconds(1));
    return Outcome::Done();
  });
  it.executor.Submit({Delivery(1), Delivery(2)});
  it.recorder->WaitForStarts(1);
  it.executor.Clear();
  it.executor.Submit({Delivery(3)});
  open = true;
  it.recorder->WaitForEnds(2);
  EXPECT_THAT(it.recorder->starts(), ElementsAre(Task(1), Task(3)));
  EXPECT_THAT(it.recorder->said(), ElementsAre("line", "text", "line", "text"));
}

TEST(ExecutorTest, StopLeavesHandlersThatDoNotReturn) {
  auto recorder = std::make_shared<Recorder>();
  auto open = std::make_shared<std::atomic<bool>>(false);
  {
    Executor executor(2,
                      {{"t",
                        [open](TaskContext& context, std::string_view) {
                          while (!*open) context.WaitForCancel(absl::Milliseconds(1));
                          return Outcome::Done();
                        }}},
                      recorder);
    executor.Submit({Delivery(1)});
    recorder->WaitForStarts(1);
    executor.Stop();
    executor.Stop();
    executor.Submit({Delivery(2)});
  }
  *open = true;
  EXPECT_EQ(recorder->WaitForEnds(1)[0].task, Task(1));
}

// Follow-ups go with the outcome if that is Done.
TEST(ExecutorTest, WhatAHandlerEnqueuesGoesWithItsCompletionOnly) {
  Fixture it(1, [](TaskContext& context, std::string_view payload) -> Outcome {
    EXPECT_TRUE(context.Enqueue("next", "step.two", "payload", {.delay = absl::Seconds(3)}).ok());
    EXPECT_TRUE(context.Enqueue("next", "step.two", "other", {.unique_key = "k"}).ok());
    if (payload == "throw") throw std::runtime_error("no");
    if (payload == "retry") return Outcome::Retry({"busy", "", ""});
    if (payload == "snooze") return Outcome::Snooze(absl::Seconds(1));
    return Outcome::Done("result");
  });
  it.executor.Submit({Delivery(1, "t", "throw"), Delivery(2, "t", "retry"), Delivery(3, "t", "snooze"), Delivery(4)});
  auto ends = it.recorder->WaitForEnds(4);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ends[i].outcome.follow_ups(), nullptr) << i;
  const FollowUps* follow_ups = ends[3].outcome.follow_ups();
  ASSERT_NE(follow_ups, nullptr);
  ASSERT_THAT(follow_ups->tasks, SizeIs(2));
  EXPECT_EQ(follow_ups->tasks[0].queue(), "next");
  EXPECT_EQ(follow_ups->tasks[0].type(), "step.two");
  EXPECT_EQ(follow_ups->tasks[0].payload(), "payload");
  EXPECT_EQ(follow_ups->tasks[0].delay().seconds(), 3);
  EXPECT_EQ(follow_ups->tasks[1].unique_key().key(), "k");
  EXPECT_EQ(ends[3].outcome.result(), "result");
}

TEST(ExecutorTest, WhatAHandlerEnqueuesIsCheckedAndBounded) {
  Fixture it(1, [](TaskContext& context, std::string_view payload) {
    if (payload == "wrong") {
      EXPECT_TRUE(absl::IsInvalidArgument(context.Enqueue("no blanks", "t", "")));
      EXPECT_TRUE(absl::IsInvalidArgument(context.Enqueue("q", "t", "", {.priority = 10})));
      return Outcome::Done();
    }
    if (payload == "bytes") {
      EXPECT_TRUE(context.Enqueue("q", "t", std::string(1 << 20, 'x')).ok());
      EXPECT_TRUE(absl::IsResourceExhausted(context.Enqueue("q", "t", std::string(1 << 20, 'x'))));
      EXPECT_TRUE(context.Enqueue("q", "t", "small").ok());
      return Outcome::Done();
    }
    for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(context.Enqueue("q", "t", "").ok());
    EXPECT_TRUE(absl::IsResourceExhausted(context.Enqueue("q", "t", "")));
    return Outcome::Done();
  });
  it.executor.Submit({Delivery(1, "t", "wrong"), Delivery(2, "t", "bytes"), Delivery(3)});
  auto ends = it.recorder->WaitForEnds(3);
  EXPECT_EQ(ends[0].outcome.follow_ups(), nullptr);
  EXPECT_THAT(ends[1].outcome.follow_ups()->tasks, SizeIs(2));
  EXPECT_THAT(ends[2].outcome.follow_ups()->tasks, SizeIs(1'000));
}

TEST(ExecutorTest, CheckpointIsHandedInAndSaved) {
  Fixture it(1, [](TaskContext& context, std::string_view) {
    EXPECT_EQ(context.checkpoint(), "page 7");
    EXPECT_TRUE(context.SaveCheckpoint("page 8").ok());
    EXPECT_TRUE(absl::IsInvalidArgument(context.SaveCheckpoint(std::string(kCheckpointMax + 1, 'x'))));
    return Outcome::Done();
  });
  TaskDelivery task = Delivery(1);
  task.checkpoint = "page 7";
  it.executor.Submit({task});
  it.recorder->WaitForEnds(1);
  EXPECT_THAT(it.recorder->said(), ElementsAre("checkpoint page 8"));
}

// With batches of type "b" and single tasks of type "t".
struct BatchFixture {
  BatchFixture(int slots, RawBatchHandler handler, BatchOptions options)
      : executor(slots, {{"t", [](TaskContext&, std::string_view) { return Outcome::Done("single"); }}}, recorder,
                 {{"b", {std::move(handler), options}}}) {}
  void Submit(uint32_t first, uint32_t count) {
    std::vector<TaskDelivery> tasks;
    for (uint32_t n = first; n < first + count; ++n) tasks.push_back(Delivery(n, "b", std::to_string(n)));
    executor.Submit(std::move(tasks));
  }
  std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
  Executor executor;
};

TEST(ExecutorBatchTest, FullBatchIsOneCallOnOneThreadAndEveryTaskHasItsOutcome) {
  std::atomic<int> calls = 0;
  BatchFixture it(8,
                  [&](std::span<const RawBatchTask> tasks) {
                    ++calls;
                    std::vector<Outcome> outcomes;
                    for (const RawBatchTask& task : tasks) {
                      EXPECT_EQ(task.context.id(), Task(static_cast<uint32_t>(std::stoi(std::string(task.payload)))));
                      EXPECT_EQ(task.context.fencing_token(), 100 + task.context.id().slot());
                      if (task.payload == "2") {
                        outcomes.push_back(Outcome::Reject({"two", "", ""}));
                      } else {
                        EXPECT_TRUE(task.context.Enqueue("q", "t", "").ok());
                        outcomes.push_back(Outcome::Done(std::string(task.payload)));
                      }
                    }
                    return outcomes;
                  },
                  {.max_size = 4, .max_wait = absl::Hours(1)});
  it.Submit(1, 3);
  it.executor.Submit({Delivery(100)});
  EXPECT_EQ(it.recorder->WaitForEnds(1)[0].outcome.result(), "single") << "batches that gather are in nobody's way";
  it.Submit(4, 5);
  std::set<uint32_t> ended;
  for (const auto& end : it.recorder->WaitForEnds(9)) {
    const uint32_t n = end.task.slot();
    ended.insert(n);
    if (n == 100) continue;
    EXPECT_EQ(end.outcome.kind(), n == 2 ? Outcome::Kind::kReject : Outcome::Kind::kDone);
    EXPECT_EQ(end.outcome.follow_ups() == nullptr, n == 2);
    EXPECT_EQ(end.outcome.result(), n == 2 ? "" : std::to_string(n));
  }
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(ended, SizeIs(9));
}

TEST(ExecutorBatchTest, SmallBatchRunsWhenItsWaitIsOver) {
  BatchFixture it(
      8, [](std::span<const RawBatchTask> tasks) { return std::vector<Outcome>(tasks.size(), Outcome::Done()); },
      {.max_size = 4, .max_wait = absl::Milliseconds(1)});
  it.Submit(1, 3);
  EXPECT_THAT(it.recorder->WaitForEnds(3), SizeIs(3));
}

TEST(ExecutorBatchTest, ExceptionAndWrongNumberOfOutcomesFailAllTasks) {
  BatchFixture it(8,
                  [](std::span<const RawBatchTask> tasks) -> std::vector<Outcome> {
                    if (tasks[0].payload == "1") throw std::out_of_range("far");
                    return {Outcome::Done(), Outcome::Done(), Outcome::Done()};
                  },
                  {.max_size = 2, .max_wait = absl::Hours(1)});
  it.Submit(1, 2);
  for (const auto& end : it.recorder->WaitForEnds(2)) {
    EXPECT_EQ(end.outcome.kind(), Outcome::Kind::kRetry);
    EXPECT_EQ(end.outcome.error().type, "std::out_of_range");
  }
  it.Submit(3, 2);
  for (const auto& end : it.recorder->WaitForEnds(4)) {
    EXPECT_EQ(end.outcome.kind(), Outcome::Kind::kRetry);
    if (end.task.slot() < 3) continue;
    EXPECT_THAT(end.outcome.error().message, ::testing::HasSubstr("3 outcomes for 2 tasks"));
  }
}

TEST(ExecutorBatchTest, CancelReachesOneTaskOfABatch) {
  BatchFixture it(2,
                  [](std::span<const RawBatchTask> tasks) {
                    while (!tasks[1].context.WaitForCancel(absl::Minutes(1))) {
                    }
                    std::vector<Outcome> outcomes;
                    for (const RawBatchTask& task : tasks)
                      outcomes.push_back(Outcome::Done(task.context.cancelled() ? "yes" : "no"));
                    return outcomes;
                  },
                  {.max_size = 2, .max_wait = absl::Hours(1)});
  it.Submit(1, 2);
  it.recorder->WaitForStarts(2);
  it.executor.Cancel(Task(2), 102, CancelReason::kTimeout);
  auto ends = it.recorder->WaitForEnds(2);
  EXPECT_EQ(ends[0].outcome.result(), "no");
  EXPECT_EQ(ends[1].outcome.result(), "yes");
}

TEST(ExecutorBatchTest, FailureOfABatchCountsForTheTasksThatWereNotCancelled) {
  BatchFixture it(3,
                  [](std::span<const RawBatchTask> tasks) -> std::vector<Outcome> {
                    while (!tasks[1].context.WaitForCancel(absl::Minutes(1))) {
                    }
                    throw std::runtime_error("interrupted");
                  },
                  {.max_size = 3, .max_wait = absl::Hours(1)});
  it.Submit(1, 3);
  it.recorder->WaitForStarts(3);
  it.executor.Cancel(Task(3), 103, CancelReason::kShutdown);
  it.executor.Cancel(Task(2), 102, CancelReason::kCancelled);
  auto ends = it.recorder->WaitForEnds(3);
  EXPECT_EQ(ends[0].outcome.kind(), Outcome::Kind::kRetry);
  EXPECT_EQ(ends[1].outcome.kind(), Outcome::Kind::kCancelled);
  EXPECT_EQ(ends[2].outcome.kind(), Outcome::Kind::kRelease);
}

TEST(ExecutorBatchTest, UnwantedTasksOfABatchDoNotRun) {
  BatchFixture it(4,
                  [](std::span<const RawBatchTask> tasks) {
                    EXPECT_THAT(tasks, SizeIs(2));
                    std::vector<Outcome> outcomes;
                    for (const RawBatchTask& task : tasks) outcomes.push_back(Outcome::Done(std::string(task.payload)));
                    return outcomes;
                  },
                  {.max_size = 4, .max_wait = absl::Hours(1)});
  it.recorder->Refuse(Task(1));
  it.recorder->Refuse(Task(3));
  it.Submit(1, 4);
  auto ends = it.recorder->WaitForEnds(2);
  EXPECT_EQ(ends[0].outcome.result(), "2");
  EXPECT_EQ(ends[1].outcome.result(), "4");
  it.recorder->WaitForRefusals(2);
  // Their slots are free again.
  it.recorder->Refuse(Task(5));
  it.recorder->Refuse(Task(6));
  it.Submit(5, 4);
  it.recorder->WaitForEnds(4);
}

TEST(ExecutorBatchTest, ABatchHoldsASlotForEachOfItsTasks) {
  // Two slots: while a batch of two runs, nothing else does, though there is a second thread to be had.
  Mutex mu;
  CondVar changed;
  bool open = false;
  std::atomic<int> running = 0, most = 0;
  BatchFixture it(2,
                  [&](std::span<const RawBatchTask> tasks) {
                    most = std::max(most.load(), running += static_cast<int>(tasks.size()));
                    MutexLock lock(mu);
                    while (!open) changed.Wait(mu);
                    running -= static_cast<int>(tasks.size());
                    return std::vector<Outcome>(tasks.size(), Outcome::Done());
                  },
                  {.max_size = 2, .max_wait = absl::ZeroDuration()});
  it.Submit(1, 2);
  it.recorder->WaitForStarts(2);
  it.Submit(3, 4);
  {
    MutexLock lock(mu);
    open = true;
  }
  changed.SignalAll();
  it.recorder->WaitForEnds(6);
  EXPECT_EQ(most, 2);
}

TEST(ExecutorBatchTest, ShortWaitIsNotHeldUpByALongOne) {
  auto recorder = std::make_shared<Recorder>();
  const RawBatchHandler done = [](std::span<const RawBatchTask> tasks) {
    return std::vector<Outcome>(tasks.size(), Outcome::Done());
  };
  Executor executor(4, {}, recorder,
                    {{"long", {done, {.max_size = 4, .max_wait = absl::Hours(1)}}},
                     {"short", {done, {.max_size = 4, .max_wait = absl::Milliseconds(1)}}}});
  for (uint32_t n = 1; n <= 5; ++n) {
    executor.Submit({Delivery(n == 1 ? 100 : n, n == 1 ? "long" : "short")});
    if (n == 1) continue;
    EXPECT_EQ(recorder->WaitForEnds(n - 1)[n - 2].task, Task(n));
  }
}

TEST(ExecutorBatchTest, SlotOfAnUnwantedTaskIsTakenWhileItsBatchRuns) {
  Mutex mu;
  CondVar changed;
  bool open = false;
  BatchFixture it(2,
                  [&](std::span<const RawBatchTask> tasks) {
                    MutexLock lock(mu);
                    while (!open) changed.Wait(mu);
                    return std::vector<Outcome>(tasks.size(), Outcome::Done());
                  },
                  {.max_size = 2, .max_wait = absl::Hours(1)});
  it.recorder->Refuse(Task(1));
  std::vector<TaskDelivery> tasks = {Delivery(1, "b"), Delivery(2, "b"), Delivery(3, "t")};
  it.executor.Submit(std::move(tasks));
  EXPECT_EQ(it.recorder->WaitForEnds(1)[0].task, Task(3));
  {
    MutexLock lock(mu);
    open = true;
  }
  changed.SignalAll();
  it.recorder->WaitForEnds(2);
}

TEST(ExecutorBatchTest, ManyBatchesAndSinglesRunOnceEach) {
  std::atomic<int> tasks_run = 0;
  BatchFixture it(16,
                  [&](std::span<const RawBatchTask> tasks) {
                    tasks_run += static_cast<int>(tasks.size());
                    return std::vector<Outcome>(tasks.size(), Outcome::Done());
                  },
                  {.max_size = 10, .max_wait = absl::Milliseconds(1)});
  constexpr uint32_t kTasks = 4'000;
  for (uint32_t n = 0; n < kTasks; n += 40) {
    std::vector<TaskDelivery> tasks;
    for (uint32_t i = n; i < n + 40; ++i) tasks.push_back(Delivery(i, i % 4 == 0 ? "t" : "b", std::to_string(i)));
    it.executor.Submit(std::move(tasks));
  }
  std::set<TaskId> ended;
  for (const auto& end : it.recorder->WaitForEnds(kTasks)) ended.insert(end.task);
  EXPECT_THAT(ended, SizeIs(kTasks));
  EXPECT_EQ(tasks_run, static_cast<int>(kTasks * 3 / 4));
}

}  // namespace
}  // namespace penstock
