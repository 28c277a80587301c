#include "worker/executor.h"

#include <atomic>
#include <functional>
#include <set>
#include <stdexcept>

#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

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

  bool OnTurn(Executor::Ended* ended, const TaskDelivery* next) override {
    MutexLock lock(mu_);
    if (ended != nullptr) ends_.push_back({ended->task, std::move(ended->outcome)});
    bool start = false;
    if (next != nullptr) {
      start = !unwanted_.contains(next->id);
      (start ? starts_ : refused_).push_back(next->id);
    }
    changed_.SignalAll();
    return start;
  }
  void OnProgress(TaskId, uint64_t, double, std::string text) override { Say(std::move(text)); }
  void OnLog(TaskId, uint64_t, std::string line) override { Say(std::move(line)); }

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

}  // namespace
}  // namespace penstock
