// The runtime against the real broker in this process.

#include "worker/worker.h"

#include <atomic>
#include <future>
#include <map>
#include <stdexcept>
#include <thread>

#include "absl/time/clock.h"
#include "broker/test_broker.h"
#include "client/client.h"
#include "common/mutex.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "penstock/v1/task_service.grpc.pb.h"
#include "worker/json_handler.h"

namespace penstock {
namespace {

using google::protobuf::StringValue;
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Minutes(2);

// Opens once; whoever waits goes on.
class Gate {
 public:
  void Open() {
    MutexLock lock(mu_);
    open_ = true;
    changed_.SignalAll();
  }
  void Wait() {
    MutexLock lock(mu_);
    while (!open_) changed_.Wait(mu_);
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
};

class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest() : client_(Client::Connect(broker_->address()).value()) {}
  WorkerOptions Options() {
    WorkerOptions options;
    options.broker = broker_->address();
    options.queues = {"q"};
    options.concurrency = 4;
    options.name = "tester";
    options.drain_grace = absl::Seconds(10);
    return options;
  }
  TaskId Enqueue(const std::string& type, const std::string& payload, EnqueueOptions options = {}) {
    auto id = client_->Enqueue("q", type, payload, std::move(options));
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(TaskId());
  }
  // Waits until the task is in a state.
  TaskInfo Until(TaskId id, TaskState state) {
    std::promise<TaskInfo> reached;
    bool done = false;
    auto watch = client_->Watch(id, [&](absl::StatusOr<TaskInfo> task) {
      if (done || !task.ok() || task->state != state) return;
      done = true;
      reached.set_value(*task);
    });
    return reached.get_future().get();
  }

  std::unique_ptr<TestBroker> broker_ =
      TestBroker::Start({.time_runs = true, .session_grace = absl::Seconds(3)}).value();
  std::unique_ptr<Client> client_;
};

TEST_F(WorkerTest, TypedHandlerAnswersMessageWithMessage) {
  Worker worker(Options());
  worker.Register<StringValue, StringValue>(
      "upper", [](TaskContext& context, const StringValue& in) -> absl::StatusOr<StringValue> {
        EXPECT_EQ(context.attempt(), 1);
        EXPECT_GT(context.fencing_token(), 0u);
        StringValue out;
        out.set_value(in.value() + "!");
        return out;
      });
  ASSERT_TRUE(worker.Start().ok());
  StringValue in;
  in.set_value("hello");
  const TaskId id = client_->Enqueue("q", "upper", in).value();
  auto out = client_->Wait<StringValue>(id, kLong);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->value(), "hello!");
}

TEST_F(WorkerTest, ThousandsOfTasksRunOnceEach) {
  std::atomic<int> runs = 0;
  Worker worker(Options());
  worker.RegisterRaw("count", [&](TaskContext&, std::string_view) {
    ++runs;
    return Outcome::Done();
  });
  ASSERT_TRUE(worker.Start().ok());
  std::vector<NewTask> tasks(5'000, NewTask{"q", "count", "x", {}});
  auto results = client_->EnqueueMany(tasks);
  ASSERT_TRUE(results.ok()) << results.status();
  for (const EnqueueResult& result : *results) {
    auto done = client_->Wait<std::string>(result.id, kLong);
    ASSERT_TRUE(done.ok()) << done.status();
  }
  EXPECT_EQ(runs, 5'000);
}

TEST_F(WorkerTest, PayloadThatIsNoJsonIsDeadWithTheParsersMessage) {
  Worker worker(Options());
  RegisterJson(worker, "json", [](TaskContext&, const nlohmann::json& in) -> absl::StatusOr<nlohmann::json> {
    return nlohmann::json{{"sum", in.at("a").get<int>() + in.at("b").get<int>()}};
  });
  ASSERT_TRUE(worker.Start().ok());
  EXPECT_EQ(client_->Wait<std::string>(Enqueue("json", R"({"a":1,"b":2})"), kLong).value(), R"({"sum":3})");
  auto bad = client_->WaitTask(Enqueue("json", "{"), kLong);
  ASSERT_TRUE(bad.ok());
  EXPECT_EQ(bad->state, TaskState::kDead);
  EXPECT_EQ(bad->dead_reason, "rejected");
  EXPECT_THAT(bad->attempts.at(0).error_message, HasSubstr("parse error"));
}

TEST_F(WorkerTest, ExceptionIsAFailedAttemptAndHarmsNoOther) {
  Worker worker(Options());
  worker.RegisterRaw("throw", [&](TaskContext& context, std::string_view) -> Outcome {
    if (context.attempt() == 1) throw std::runtime_error("boom");
    return Outcome::Done("second");
  });
  Gate held, release;
  worker.RegisterRaw("hold", [&](TaskContext& context, std::string_view) {
    held.Open();
    release.Wait();
    EXPECT_FALSE(context.cancelled());
    return Outcome::Done("beside it");
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId beside = Enqueue("hold", "", {.max_attempts = 1});
  held.Wait();
  const TaskId id = Enqueue("throw", "", {.initial_backoff = absl::Milliseconds(1)});
  auto task = client_->WaitTask(id, kLong);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->state, TaskState::kCompleted);
  EXPECT_EQ(task->result, "second");
  ASSERT_EQ(task->attempts.size(), 2u);
  EXPECT_EQ(task->attempts[0].error_type, "std::runtime_error");
  EXPECT_EQ(task->attempts[0].error_message, "boom");
  EXPECT_EQ(task->attempts[0].worker, "tester");
  release.Open();
  auto other = client_->WaitTask(beside, kLong);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->state, TaskState::kCompleted);
  EXPECT_EQ(other->result, "beside it");
  EXPECT_EQ(other->attempts.size(), 1u);
}

TEST_F(WorkerTest, DeadlineIsTheRunTimeoutAfterTheStart) {
  Worker worker(Options());
  worker.RegisterRaw("when", [](TaskContext& context, std::string_view) {
    return Outcome::Done(std::to_string(absl::ToUnixMillis(context.deadline())));
  });
  ASSERT_TRUE(worker.Start().ok());
  const absl::Time before = absl::Now();
  const TaskId id = Enqueue("when", "", {.run_timeout = absl::Hours(1)});
  const std::string deadline = client_->Wait<std::string>(id, kLong).value();
  EXPECT_GE(std::stoll(deadline), absl::ToUnixMillis(before + absl::Hours(1)));
  EXPECT_LE(std::stoll(deadline), absl::ToUnixMillis(absl::Now() + absl::Hours(1)));
}

TEST_F(WorkerTest, AttemptsUsedUpIsDeadWithEveryError) {
  Worker worker(Options());
  worker.RegisterRaw("fail", [](TaskContext& context, std::string_view) {
    return Outcome::Retry({"E", "attempt " + std::to_string(context.attempt()), ""});
  });
  ASSERT_TRUE(worker.Start().ok());
  auto task =
      client_->WaitTask(Enqueue("fail", "", {.max_attempts = 3, .initial_backoff = absl::Milliseconds(1)}), kLong);
  ASSERT_TRUE(task.ok());
  EXPECT_EQ(task->state, TaskState::kDead);
  EXPECT_EQ(task->dead_reason, "attempts used up");
  ASSERT_EQ(task->attempts.size(), 3u);
  EXPECT_EQ(task->attempts[2].error_message, "attempt 3");
}

TEST_F(WorkerTest, RunningTaskIsCancelledCooperatively) {
  Gate started;
  Worker worker(Options());
  worker.RegisterRaw("long", [&](TaskContext& context, std::string_view) {
    started.Open();
    EXPECT_TRUE(context.WaitForCancel(kLong));
    EXPECT_EQ(context.cancel_reason(), CancelReason::kCancelled);
    return Outcome::Cancelled();
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId id = Enqueue("long", "");
  started.Wait();
  EXPECT_FALSE(client_->CancelTask(id).value());
  EXPECT_EQ(client_->WaitTask(id, kLong)->state, TaskState::kCancelled);
}

TEST_F(WorkerTest, HandlerThatIgnoresItsTimeoutFailsTheAttemptAndIsShownAsStuck) {
  Gate release;
  Worker worker(Options());
  worker.RegisterRaw("stuck", [&](TaskContext&, std::string_view) {
    release.Wait();
    return Outcome::Done();
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId id = Enqueue("stuck", "", {.max_attempts = 1, .run_timeout = absl::Milliseconds(50)});
  auto task = client_->WaitTask(id, kLong);
  ASSERT_TRUE(task.ok());
  EXPECT_EQ(task->state, TaskState::kDead);
  EXPECT_EQ(task->attempts.at(0).error_type, "timeout");
  auto admin = v1::AdminService::NewStub(grpc::CreateChannel(broker_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::ListWorkersResponse workers;
  ASSERT_TRUE(admin->ListWorkers(&context, {}, &workers).ok());
  ASSERT_EQ(workers.workers_size(), 1);
  ASSERT_EQ(workers.workers(0).stuck_task_ids_size(), 1);
  EXPECT_EQ(workers.workers(0).stuck_task_ids(0), id.ToString());
  release.Open();
}

TEST_F(WorkerTest, TimedOutTaskRunsAgainBesideItsStuckHandler) {
  Gate release;
  Worker worker(Options());
  worker.RegisterRaw("slow", [&](TaskContext& context, std::string_view) {
    if (context.attempt() == 1) release.Wait();
    return Outcome::Done("attempt " + std::to_string(context.attempt()));
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId id =
      Enqueue("slow", "", {.run_timeout = absl::Milliseconds(50), .initial_backoff = absl::Milliseconds(1)});
  EXPECT_EQ(client_->Wait<std::string>(id, kLong).value(), "attempt 2");
  release.Open();
}

TEST_F(WorkerTest, ErrorThatIsNoTextHarmsNoOtherTask) {
  Worker worker(Options());
  worker.RegisterRaw("latin", [](TaskContext& context, std::string_view) -> Outcome {
    context.Log("gr\xFC\xDF");
    throw std::runtime_error("gr\xFC\xDF");
  });
  worker.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(); });
  ASSERT_TRUE(worker.Start().ok());
  auto task = client_->WaitTask(Enqueue("latin", "", {.max_attempts = 1}), kLong);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->attempts.at(0).error_message, "gr??");
  EXPECT_TRUE(client_->Wait<std::string>(Enqueue("t", ""), kLong).ok());
}

TEST_F(WorkerTest, TasksUnderWayAcrossRestartsOfTheBrokerFinish) {
  std::atomic<int> runs = 0;
  Worker worker(Options());
  worker.RegisterRaw("count", [&](TaskContext&, std::string_view) {
    ++runs;
    return Outcome::Done();
  });
  ASSERT_TRUE(worker.Start().ok());
  auto results = client_->EnqueueMany(std::vector<NewTask>(5'000, NewTask{"q", "count", "x", {}}));
  ASSERT_TRUE(results.ok()) << results.status();
  for (int i = 0; i < 3; ++i) broker_->Restart();
  for (const EnqueueResult& result : *results) {
    auto task = client_->WaitTask(result.id, kLong);
    ASSERT_TRUE(task.ok()) << task.status();
    ASSERT_EQ(task->state, TaskState::kCompleted);
  }
  EXPECT_EQ(runs, 5'000) << "no restart makes a task run twice while its worker lives";
}

TEST_F(WorkerTest, ProgressAndLogReachTheBroker) {
  Gate release;
  Worker worker(Options());
  worker.RegisterRaw("talk", [&](TaskContext& context, std::string_view) {
    context.Log("line one");
    context.Progress(40, "almost");
    release.Wait();
    return Outcome::Done("r");
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId id = Enqueue("talk", "");
  std::promise<void> seen;
  bool told = false;
  auto watch = client_->Watch(id, [&](absl::StatusOr<TaskInfo> task) {
    if (!told && task.ok() && task->progress_percent == 40 && task->progress_text == "almost") {
      told = true;
      seen.set_value();
    }
  });
  seen.get_future().wait();
  release.Open();
  EXPECT_EQ(client_->Wait<std::string>(id, kLong).value(), "r");
  auto tasks = v1::TaskService::NewStub(grpc::CreateChannel(broker_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::ListTaskLogLinesRequest request;
  request.set_task_id(id.ToString());
  v1::ListTaskLogLinesResponse lines;
  ASSERT_TRUE(tasks->ListTaskLogLines(&context, request, &lines).ok());
  ASSERT_EQ(lines.lines_size(), 1);
  EXPECT_EQ(lines.lines(0).text(), "line one");
}

TEST_F(WorkerTest, RunningTaskSurvivesARestartOfTheBrokerAndRunsOnce) {
  std::atomic<int> runs = 0;
  Gate started, release;
  Worker worker(Options());
  worker.RegisterRaw("once", [&](TaskContext&, std::string_view) {
    ++runs;
    started.Open();
    release.Wait();
    return Outcome::Done("kept");
  });
  ASSERT_TRUE(worker.Start().ok());
  const TaskId id = Enqueue("once", "");
  started.Wait();
  broker_->Restart();
  release.Open();
  auto task = client_->WaitTask(id, kLong);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->state, TaskState::kCompleted);
  EXPECT_EQ(task->result, "kept");
  EXPECT_EQ(task->attempts.size(), 1u);
  EXPECT_EQ(runs, 1);
}

TEST_F(WorkerTest, DrainedWorkerHandsBackWithoutUsingUpAnAttempt) {
  Gate started;
  WorkerOptions options = Options();
  options.drain_grace = absl::Milliseconds(50);
  auto first = std::make_unique<Worker>(options);
  first->RegisterRaw("long", [&](TaskContext& context, std::string_view) {
    started.Open();
    context.WaitForCancel(kLong);
    EXPECT_EQ(context.cancel_reason(), CancelReason::kShutdown);
    return Outcome::Release();
  });
  ASSERT_TRUE(first->Start().ok());
  const TaskId id = Enqueue("long", "");
  started.Wait();
  first->Stop();
  EXPECT_EQ(client_->GetTask(id)->state, TaskState::kAvailable);
  Worker second(Options());
  second.RegisterRaw("long", [](TaskContext& context, std::string_view) {
    EXPECT_EQ(context.attempt(), 1);
    return Outcome::Done("elsewhere");
  });
  ASSERT_TRUE(second.Start().ok());
  EXPECT_EQ(client_->Wait<std::string>(id, kLong).value(), "elsewhere");
}

TEST_F(WorkerTest, DrainUsesUpNoAttemptHoweverAHandlerEnds) {
  WorkerOptions options = Options();
  options.concurrency = 20;
  options.drain_grace = absl::Milliseconds(50);
  std::atomic<int> started = 0;
  const auto await_cancel = [&](TaskContext& context) {
    ++started;
    EXPECT_TRUE(context.WaitForCancel(kLong));
  };
  Gate release;
  {
    Worker worker(options);
    worker.Register<StringValue, StringValue>(
        "typed", [&](TaskContext& context, const StringValue&) -> absl::StatusOr<StringValue> {
          await_cancel(context);
          return absl::CancelledError("stopping");
        });
    worker.Register<StringValue, StringValue>(
        "typed.reject", [&](TaskContext& context, const StringValue&) -> absl::StatusOr<StringValue> {
          await_cancel(context);
          return absl::FailedPreconditionError("stopping");
        });
    RegisterJson(worker, "json", [&](TaskContext& context, const nlohmann::json&) -> absl::StatusOr<nlohmann::json> {
      await_cancel(context);
      return absl::CancelledError("stopping");
    });
    worker.RegisterRaw("retry", [&](TaskContext& context, std::string_view) {
      await_cancel(context);
      return Outcome::Retry({"stopping", "", ""});
    });
    worker.RegisterRaw("throw", [&](TaskContext& context, std::string_view) -> Outcome {
      await_cancel(context);
      throw std::runtime_error("interrupted");
    });
    worker.RegisterRaw("cancelled", [&](TaskContext& context, std::string_view) {
      await_cancel(context);
      return Outcome::Cancelled();
    });
    worker.RegisterRaw("deaf", [&](TaskContext&, std::string_view) {
      ++started;
      release.Wait();
      return Outcome::Done();
    });
    worker.RegisterBatch<StringValue, StringValue>("batch", [&](std::span<const BatchTask<StringValue>> tasks) {
      await_cancel(tasks[0].context);
      return std::vector<absl::StatusOr<StringValue>>(tasks.size(), absl::CancelledError("stopping"));
    });
    ASSERT_TRUE(worker.Start().ok());
    std::map<std::string, TaskId> ids;
    for (const char* type : {"typed", "typed.reject", "json", "retry", "throw", "cancelled", "deaf", "batch"}) {
      ids[type] = Enqueue(type, type == std::string("json") ? "{}" : "", {.max_attempts = 1});
    }
    while (started < 8) std::this_thread::yield();
    worker.Stop();
    for (const auto& [type, id] : ids) {
      const TaskInfo task = client_->GetTask(id).value();
      EXPECT_EQ(task.state, TaskState::kAvailable) << type;
      ASSERT_EQ(task.attempts.size(), 1u) << type;
      EXPECT_EQ(task.attempts[0].outcome, "released") << type;
    }
    // Each still has its one attempt.
    Worker second(Options());
    for (const auto& [type, id] : ids) {
      second.RegisterRaw(type, [](TaskContext& context, std::string_view) {
        return Outcome::Done("attempt " + std::to_string(context.attempt()));
      });
    }
    ASSERT_TRUE(second.Start().ok());
    for (const auto& [type, id] : ids) {
      EXPECT_EQ(client_->Wait<std::string>(id, kLong).value_or("dead"), "attempt 1") << type;
    }
    release.Open();
  }
}

TEST_F(WorkerTest, TypedAndJsonHandlersDecideWithOutcomesToo) {
  WorkerOptions options = Options();
  Worker worker(options);
  worker.Register<StringValue, StringValue>("typed",
                                            [](TaskContext& context, const StringValue& in) -> OutcomeOr<StringValue> {
                                              if (context.checkpoint().empty()) {
                                                EXPECT_TRUE(context.SaveCheckpoint("seen").ok());
                                                return Outcome::Release();
                                              }
                                              if (in.value() == "bad") return absl::InvalidArgumentError("bad");
                                              EXPECT_EQ(context.attempt(), 1);
                                              return in;
                                            });
  RegisterJson(worker, "json", [](TaskContext& context, const nlohmann::json& in) -> OutcomeOr<nlohmann::json> {
    if (context.checkpoint().empty()) {
      EXPECT_TRUE(context.SaveCheckpoint("seen").ok());
      return Outcome::Release();
    }
    return nlohmann::json{{"got", in}, {"attempt", context.attempt()}};
  });
  RegisterBatchJson(worker, "batch", [](std::span<const BatchTask<nlohmann::json>> tasks) {
    std::vector<OutcomeOr<nlohmann::json>> answers;
    for (const BatchTask<nlohmann::json>& task : tasks) {
      if (task.request == 1) {
        answers.push_back(Outcome::Reject({"one", "is no number of ours", ""}));
      } else {
        answers.push_back(task.request);
      }
    }
    return answers;
  });
  ASSERT_TRUE(worker.Start().ok());
  StringValue in;
  in.set_value("hello");
  const TaskId typed = client_->Enqueue("q", "typed", in).value();
  EXPECT_EQ(client_->Wait<StringValue>(typed, kLong).value().value(), "hello");
  EXPECT_EQ(client_->GetTask(typed)->attempts.at(0).outcome, "released");
  in.set_value("bad");
  EXPECT_EQ(client_->WaitTask(client_->Enqueue("q", "typed", in).value(), kLong)->dead_reason, "rejected");
  EXPECT_EQ(client_->Wait<std::string>(Enqueue("json", "[7]"), kLong).value(), R"({"attempt":1,"got":[7]})");
  const TaskId one = Enqueue("batch", "1"), two = Enqueue("batch", "2");
  EXPECT_EQ(client_->WaitTask(one, kLong)->attempts.at(0).error_type, "one");
  EXPECT_EQ(client_->Wait<std::string>(two, kLong).value(), "2");
}

TEST_F(WorkerTest, OperatorDrainsAWorker) {
  Worker worker(Options());
  worker.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(); });
  ASSERT_TRUE(worker.Start().ok());
  EXPECT_TRUE(client_->Wait<std::string>(Enqueue("t", ""), kLong).ok());
  auto admin = v1::AdminService::NewStub(grpc::CreateChannel(broker_->address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::DrainWorkerRequest request;
  request.set_worker("tester");
  v1::DrainWorkerResponse response;
  ASSERT_TRUE(admin->DrainWorker(&context, request, &response).ok());
  EXPECT_TRUE(worker.Wait().ok());
  worker.Stop();
  EXPECT_EQ(client_->GetTask(Enqueue("t", ""))->state, TaskState::kAvailable);
}

TEST_F(WorkerTest, MiddlewareWrapsInOrder) {
  std::string trace;
  Worker worker(Options());
  worker.Use([&](TaskContext& context, std::string_view payload, const RawHandler& next) {
    trace += "a(";
    Outcome outcome = next(context, payload);
    trace += ")";
    return outcome;
  });
  worker.Use([&](TaskContext& context, std::string_view payload, const RawHandler& next) {
    trace += "b";
    return next(context, payload);
  });
  worker.RegisterRaw("t", [&](TaskContext&, std::string_view) {
    trace += "t";
    return Outcome::Done();
  });
  ASSERT_TRUE(worker.Start().ok());
  ASSERT_TRUE(client_->Wait<std::string>(Enqueue("t", ""), kLong).ok());
  worker.Stop();
  EXPECT_EQ(trace, "a(bt)");
}

TEST_F(WorkerTest, TypedBatchAnswersEveryTask) {
  WorkerOptions options = Options();
  options.concurrency = 20;
  std::atomic<int> calls = 0, largest = 0;
  std::atomic<int> middleware = 0;
  Worker worker(options);
  worker.Use([&](TaskContext& context, std::string_view payload, const RawHandler& next) {
    ++middleware;
    return next(context, payload);
  });
  worker.RegisterBatch<StringValue, StringValue>(
      "upper",
      [&](std::span<const BatchTask<StringValue>> tasks) {
        ++calls;
        largest = std::max(largest.load(), static_cast<int>(tasks.size()));
        std::vector<absl::StatusOr<StringValue>> answers;
        for (const BatchTask<StringValue>& task : tasks) {
          if (task.request.value() == "bad") {
            answers.push_back(absl::InvalidArgumentError("bad"));
            continue;
          }
          answers.emplace_back().emplace().set_value(task.request.value() + "!" +
                                                     std::to_string(task.context.attempt()));
        }
        return answers;
      },
      {.max_size = 10, .max_wait = absl::Milliseconds(50)});
  ASSERT_TRUE(worker.Start().ok());
  std::vector<NewTask> tasks;
  for (int i = 0; i < 200; ++i) {
    StringValue in;
    in.set_value(i == 7 ? "bad" : std::to_string(i));
    tasks.push_back({"q", "upper", i == 8 ? "\xFF no message" : in.SerializeAsString(), {}});
  }
  auto results = client_->EnqueueMany(tasks);
  ASSERT_TRUE(results.ok()) << results.status();
  for (int i = 0; i < 200; ++i) {
    const TaskId id = results->at(static_cast<size_t>(i)).id;
    if (i == 7 || i == 8) {
      const TaskInfo task = client_->WaitTask(id, kLong).value();
      EXPECT_EQ(task.state, TaskState::kDead);
      EXPECT_THAT(task.attempts.at(0).error_message, HasSubstr(i == 7 ? "bad" : "StringValue"));
    } else {
      EXPECT_EQ(client_->Wait<StringValue>(id, kLong).value().value(), std::to_string(i) + "!1");
    }
  }
  worker.Stop();
  EXPECT_EQ(middleware, 200);
  EXPECT_LT(calls, 200);
  EXPECT_GT(largest, 1);
  EXPECT_LE(largest, 10);
}

TEST_F(WorkerTest, JsonBatchRejectsWhatIsNoJsonAlone) {
  Worker worker(Options());
  RegisterBatchJson(worker, "sum",
                    [](std::span<const BatchTask<nlohmann::json>> tasks) {
                      std::vector<absl::StatusOr<nlohmann::json>> sums;
                      for (const auto& task : tasks)
                        sums.push_back(nlohmann::json(task.request.at("a").get<int>() + 1));
                      return sums;
                    },
                    {.max_wait = absl::Milliseconds(20)});
  ASSERT_TRUE(worker.Start().ok());
  const TaskId good = Enqueue("sum", R"({"a":1})"), bad = Enqueue("sum", "{");
  EXPECT_EQ(client_->Wait<std::string>(good, kLong).value(), "2");
  EXPECT_EQ(client_->WaitTask(bad, kLong)->dead_reason, "rejected");
}

TEST_F(WorkerTest, ThousandsOfTasksInBatchesRunOnceEachBesideOthers) {
  WorkerOptions options = Options();
  options.concurrency = 200;
  std::atomic<int> runs = 0, calls = 0, singles = 0;
  Worker worker(options);
  worker.RegisterRawBatch("many",
                          [&](std::span<const RawBatchTask> tasks) {
                            ++calls;
                            runs += static_cast<int>(tasks.size());
                            return std::vector<Outcome>(tasks.size(), Outcome::Done());
                          },
                          {.max_size = 100});
  worker.RegisterRaw("one", [&](TaskContext&, std::string_view) {
    ++singles;
    return Outcome::Done();
  });
  ASSERT_TRUE(worker.Start().ok());
  std::vector<NewTask> tasks;
  for (int i = 0; i < 5'000; ++i) tasks.push_back({"q", i % 10 == 0 ? "one" : "many", "x", {}});
  auto results = client_->EnqueueMany(tasks);
  ASSERT_TRUE(results.ok()) << results.status();
  for (const EnqueueResult& result : *results) ASSERT_TRUE(client_->Wait<std::string>(result.id, kLong).ok());
  EXPECT_EQ(runs, 4'500);
  EXPECT_EQ(singles, 500);
  EXPECT_LT(calls, 2'000);
}

TEST_F(WorkerTest, TypeLimitHolds) {
  std::atomic<int> now = 0, most = 0;
  Worker worker(Options());
  worker.RegisterRaw("narrow",
                     [&](TaskContext& context, std::string_view) {
                       const int running = ++now;
                       int seen = most;
                       while (running > seen && !most.compare_exchange_weak(seen, running)) {
                       }
                       context.WaitForCancel(absl::Milliseconds(1));
                       --now;
                       return Outcome::Done();
                     },
                     {.max_concurrency = 2});
  ASSERT_TRUE(worker.Start().ok());
  auto results = client_->EnqueueMany(std::vector<NewTask>(100, NewTask{"q", "narrow", "", {}}));
  for (const EnqueueResult& result : *results) ASSERT_TRUE(client_->Wait<std::string>(result.id, kLong).ok());
  EXPECT_LE(most, 2);
}

TEST(WorkerOptionsTest, MistakesAreErrorsOfStart) {
  auto start = [](WorkerOptions options, int registrations) {
    Worker worker(std::move(options));
    for (int i = 0; i < registrations; ++i) {
      worker.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(); });
    }
    return FieldOf(worker.Start());
  };
  EXPECT_EQ(start({}, 1), "queues");
  EXPECT_EQ(start({.queues = {"q"}}, 0), "types");
  EXPECT_EQ(start({.queues = {"q"}}, 2), "type");
  EXPECT_EQ(start({.queues = {"q"}, .concurrency = 0}, 1), "concurrency");
  EXPECT_EQ(start({.broker = "nowhere", .queues = {"q"}}, 1), "broker");
  EXPECT_EQ(start({.queues = {"q"}, .labels = {{"no blanks", "x"}}}, 1), "labels");
  EXPECT_EQ(start({.queues = {"q"}, .labels = {{"gpu", ""}}}, 1), "labels");
  EXPECT_EQ(start({.queues = {"q"}, .labels = {{"gpu", std::string(65, 'x')}}}, 1), "labels");
}

TEST(WorkerOptionsTest, MistakesOfBatchesAreErrorsOfStart) {
  auto start = [](BatchOptions batch) {
    Worker worker({.broker = "127.0.0.1:1", .queues = {"q"}, .concurrency = 8});
    worker.RegisterRawBatch(
        "t", [](std::span<const RawBatchTask> tasks) { return std::vector<Outcome>(tasks.size(), Outcome::Done()); },
        batch);
    return FieldOf(worker.Start());
  };
  EXPECT_EQ(start({.max_size = 9}), "max_size");
  EXPECT_EQ(start({.max_size = 5, .max_concurrency = 4}), "max_size");
  EXPECT_EQ(start({.max_wait = absl::Seconds(11)}), "max_wait");
  EXPECT_EQ(start({.max_concurrency = -1}), "max_concurrency");
  EXPECT_EQ(start({.max_size = 8}), "");
}

}  // namespace
}  // namespace penstock
