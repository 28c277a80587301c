// The runtime against a broker that is late, wrong or gone as the test wants it.

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_worker_service.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using testing::FakeWorkerService;
using testing::HasOutcomeOf;
using ::testing::HasSubstr;

TaskId Task(uint32_t n) { return TaskId(0, 1, n); }

v1::Welcome MakeWelcome(bool resumed = false) {
  v1::Welcome welcome;
  welcome.set_session_id("session");
  welcome.set_resumed(resumed);
  welcome.mutable_lease()->set_seconds(30);
  welcome.set_max_result_bytes(1'000);
  return welcome;
}

bool HasStart(const v1::WorkRequest& request) { return request.starts_size() > 0; }

class SessionTest : public ::testing::Test {
 protected:
  WorkerOptions Options() {
    WorkerOptions options;
    options.broker = broker_.address();
    options.queues = {"q"};
    options.concurrency = 2;
    options.prefetch = 1;
    options.name = "tester";
    options.drain_grace = absl::Minutes(1);
    options.reconnect_max = absl::Milliseconds(100);
    return options;
  }
  // With a handler that returns its payload, and one that waits to be cancelled and tells why it was.
  std::unique_ptr<Worker> MakeWorker(WorkerOptions options) {
    auto worker = std::make_unique<Worker>(std::move(options));
    worker->RegisterRaw("t",
                        [](TaskContext&, std::string_view payload) { return Outcome::Done(std::string(payload)); });
    worker->RegisterRaw("wait", [this](TaskContext& context, std::string_view) {
      while (!context.WaitForCancel(absl::Minutes(1))) {
      }
      reason_ = context.cancel_reason();
      return Outcome::Done("cancelled");
    });
    EXPECT_TRUE(worker->Start().ok());
    return worker;
  }
  void Acknowledge(uint64_t frame) {
    v1::WorkResponse response;
    response.set_acknowledged_frame(frame);
    broker_.Send(response);
  }

  FakeWorkerService broker_;
  std::atomic<CancelReason> reason_ = CancelReason::kNone;
};

TEST_F(SessionTest, HelloSaysWhoTheWorkerIsAndCreditFollowsTheWelcome) {
  auto worker = MakeWorker(Options());
  const v1::Hello hello = broker_.Welcome(MakeWelcome());
  EXPECT_EQ(hello.worker_name(), "tester");
  EXPECT_THAT(hello.queues(), ElementsAre("q"));
  EXPECT_EQ(hello.types_size(), 2);
  EXPECT_EQ(hello.concurrency(), 2);
  EXPECT_EQ(hello.lease().seconds(), 30);
  EXPECT_EQ(hello.session_id(), "");
  EXPECT_GT(hello.pid(), 0);
  EXPECT_EQ(broker_.Next().credit(), 3);
}

TEST_F(SessionTest, RefusalForGoodIsToldInsteadOfConnectingAgain) {
  broker_.RefuseNext(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "hello.queues[0]: may hold A-Z only"));
  auto worker = MakeWorker(Options());
  const absl::Status status = worker->Wait();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("hello.queues[0]: may hold A-Z only"));
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(broker_.address()));
  worker->Stop();
}

TEST_F(SessionTest, WorkerWhoseNamesTheBrokerWouldRefuseDoesNotStart) {
  WorkerOptions options = Options();
  options.queues = {"no blanks"};
  Worker queues(options);
  queues.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(); });
  EXPECT_TRUE(absl::IsInvalidArgument(queues.Start()));
  Worker types(Options());
  types.RegisterRaw("no blanks", [](TaskContext&, std::string_view) { return Outcome::Done(); });
  EXPECT_TRUE(absl::IsInvalidArgument(types.Start()));
}

TEST_F(SessionTest, UnacknowledgedOutcomeIsHeldAndRepeatedOnANewStream) {
  auto worker = MakeWorker(Options());
  broker_.Welcome(MakeWelcome());
  broker_.Deliver(Task(1), 101, "t", "result");
  const v1::WorkRequest first = broker_.NextThat(HasOutcomeOf(Task(1)));
  EXPECT_EQ(first.frame_number(), 1u);
  EXPECT_EQ(first.outcomes(0).completed().result(), "result");
  broker_.Cut();
  const v1::Hello hello = broker_.Welcome(MakeWelcome(true));
  EXPECT_EQ(hello.session_id(), "session");
  ASSERT_EQ(hello.held_tasks_size(), 1);
  EXPECT_EQ(hello.held_tasks(0).task_id(), Task(1).ToString());
  EXPECT_EQ(hello.held_tasks(0).fencing_token(), 101u);
  EXPECT_TRUE(hello.held_tasks(0).started());
  const v1::WorkRequest again = broker_.NextThat(HasOutcomeOf(Task(1)));
  EXPECT_EQ(again.frame_number(), 2u);
  EXPECT_EQ(again.outcomes(0).completed().result(), "result");
  Acknowledge(2);
  worker->Stop();
}

TEST_F(SessionTest, SessionThatHasEndedCancelsItsHandlersAsLost) {
  auto worker = MakeWorker(Options());
  broker_.Welcome(MakeWelcome());
  broker_.Deliver(Task(1), 101, "wait");
  broker_.NextThat(HasStart);
  broker_.RefuseNext(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such session"));
  broker_.Cut();
  const v1::Hello hello = broker_.Welcome(MakeWelcome());
  EXPECT_EQ(hello.session_id(), "");
  EXPECT_EQ(hello.held_tasks_size(), 0);
  broker_.Next();
  // It works on: a task of the new session is run under frame 1, and nothing is said of the old one.
  broker_.Deliver(Task(2), 102);
  const v1::WorkRequest request = broker_.NextThat([](const v1::WorkRequest& r) { return r.outcomes_size() > 0; });
  EXPECT_EQ(request.frame_number(), 1u);
  EXPECT_EQ(request.outcomes(0).task_id(), Task(2).ToString());
  Acknowledge(1);
  worker->Stop();
  EXPECT_EQ(reason_, CancelReason::kLeaseLost);
}

TEST_F(SessionTest, StaleRefusalCancelsTheHandler) {
  auto worker = MakeWorker(Options());
  broker_.Welcome(MakeWelcome());
  broker_.Deliver(Task(1), 101, "wait");
  broker_.NextThat(HasStart);
  v1::WorkResponse response;
  v1::Refusal* refusal = response.add_refusals();
  refusal->set_task_id(Task(1).ToString());
  refusal->set_fencing_token(101);
  refusal->set_reason(v1::Refusal::REASON_STALE_LEASE);
  broker_.Send(response);
  worker->Stop();
  EXPECT_EQ(reason_, CancelReason::kLeaseLost);
}

TEST_F(SessionTest, LeaseIsRenewedWhileAHandlerRuns) {
  auto worker = MakeWorker(Options());
  v1::Welcome welcome = MakeWelcome();
  welcome.mutable_lease()->set_seconds(0);
  welcome.mutable_lease()->set_nanos(50'000'000);
  broker_.Welcome(welcome);
  broker_.Deliver(Task(1), 101, "wait");
  broker_.NextThat(HasStart);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(broker_.Next().outcomes_size(), 0);
  v1::WorkResponse response;
  response.add_cancelled_task_ids(Task(1).ToString());
  broker_.Send(response);
  Acknowledge(broker_.NextThat(HasOutcomeOf(Task(1))).frame_number());
  worker->Stop();
  EXPECT_EQ(reason_, CancelReason::kCancelled);
}

TEST_F(SessionTest, ResultThatTheBrokerWouldRefuseIsAFailureThatSaysSo) {
  auto worker = MakeWorker(Options());
  broker_.Welcome(MakeWelcome());
  broker_.Deliver(Task(1), 101, "t", std::string(1'001, 'x'));
  const v1::WorkRequest request = broker_.NextThat(HasOutcomeOf(Task(1)));
  ASSERT_TRUE(request.outcomes(0).has_failed());
  EXPECT_EQ(request.outcomes(0).failed().error().type(), "result too large");
  EXPECT_THAT(request.outcomes(0).failed().error().message(), HasSubstr("1001 bytes"));
  Acknowledge(request.frame_number());
}

TEST_F(SessionTest, HelloCarriesLabels) {
  WorkerOptions options = Options();
  options.labels = {{"gpu", "yes"}, {"zone", "eu-1"}};
  auto worker = MakeWorker(options);
  const v1::Hello hello = broker_.Welcome(MakeWelcome());
  EXPECT_EQ(hello.labels_size(), 2);
  EXPECT_EQ(hello.labels().at("gpu"), "yes");
  EXPECT_EQ(hello.labels().at("zone"), "eu-1");
}

TEST_F(SessionTest, FollowUpsTravelWithTheCompletionHoweverLarge) {
  Worker worker(Options());
  worker.RegisterRaw("t", [](TaskContext& context, std::string_view) {
    EXPECT_TRUE(context.Enqueue("next", "a", std::string(1'000'000, 'x'), {.priority = 9}).ok());
    EXPECT_TRUE(context.Enqueue("next", "b", std::string(1'000'000, 'y')).ok());
    return Outcome::Done("result");
  });
  ASSERT_TRUE(worker.Start().ok());
  broker_.Welcome(MakeWelcome());
  broker_.Deliver(Task(1), 101);
  const v1::WorkRequest request = broker_.NextThat(HasOutcomeOf(Task(1)));
  const auto& completed = request.outcomes(0).completed();
  EXPECT_EQ(completed.result(), "result");
  ASSERT_EQ(completed.enqueue_size(), 2);
  EXPECT_EQ(completed.enqueue(0).queue(), "next");
  EXPECT_EQ(completed.enqueue(0).type(), "a");
  EXPECT_EQ(completed.enqueue(0).priority(), 9);
  EXPECT_EQ(completed.enqueue(1).payload().size(), 1'000'000u);
  Acknowledge(request.frame_number());
  worker.Stop();
}

TEST_F(SessionTest, FollowUpsAreRepeatedWithTheirCompletion) {
  Worker worker(Options());
  worker.RegisterRaw("t", [](TaskContext& context, std::string_view) {
    EXPECT_TRUE(context.Enqueue("next", "a", "x").ok());
    return Outcome::Done();
  });
  ASSERT_TRUE(worker.Start().ok());
  broker_.Welcome(MakeWelcome());
  broker_.Deliver(Task(1), 101);
  broker_.NextThat(HasOutcomeOf(Task(1)));
  broker_.Cut();
  broker_.Welcome(MakeWelcome(true));
  const v1::WorkRequest again = broker_.NextThat(HasOutcomeOf(Task(1)));
  EXPECT_EQ(again.outcomes(0).completed().enqueue_size(), 1);
  Acknowledge(again.frame_number());
  worker.Stop();
}

TEST_F(SessionTest, CheckpointComesWithTheTaskAndGoesWithProgress) {
  Worker worker(Options());
  worker.RegisterRaw("t", [](TaskContext& context, std::string_view) {
    EXPECT_EQ(context.checkpoint(), "page 7");
    EXPECT_EQ(context.key(), "customer-1");
    EXPECT_EQ(context.group(), "acme");
    context.Progress(80, "page 8");
    EXPECT_TRUE(context.SaveCheckpoint("page 8").ok());
    return Outcome::Retry({"busy", "", ""});
  });
  ASSERT_TRUE(worker.Start().ok());
  broker_.Welcome(MakeWelcome());
  v1::WorkResponse response;
  v1::Delivery* delivery = response.add_deliveries();
  delivery->set_task_id(Task(1).ToString());
  delivery->set_fencing_token(101);
  delivery->mutable_spec()->set_queue("q");
  delivery->mutable_spec()->set_type("t");
  delivery->mutable_spec()->set_key("customer-1");
  delivery->mutable_spec()->set_group("acme");
  delivery->set_checkpoint("page 7");
  broker_.Send(response);
  const v1::WorkRequest request = broker_.NextThat(
      [](const v1::WorkRequest& r) { return r.progress_reports_size() > 0 && r.progress_reports(0).has_checkpoint(); });
  EXPECT_EQ(request.progress_reports(0).checkpoint(), "page 8");
  EXPECT_EQ(request.progress_reports(0).percent(), 80);
  EXPECT_EQ(request.progress_reports(0).text(), "page 8");
  uint64_t frame = request.frame_number();
  if (frame == 0) frame = broker_.NextThat(HasOutcomeOf(Task(1))).frame_number();
  Acknowledge(frame);
  worker.Stop();
}

TEST_F(SessionTest, CoolingGoesWithItsDelayOfAtMostAnHour) {
  Worker worker(Options());
  worker.RegisterRaw("t", [](TaskContext&, std::string_view payload) -> Outcome {
    if (payload == "retry") return Outcome::RetryAfter(absl::Seconds(30), {"429", "slow down", ""}, CoolScope::kKey);
    if (payload == "snooze") return Outcome::Snooze(absl::Hours(5), CoolScope::kType);
    if (payload == "none") return Outcome::RetryAfter(absl::ZeroDuration(), {"429", "", ""}, CoolScope::kQueue);
    return Outcome::RetryAfter(absl::Hours(5), {"429", "", ""});
  });
  ASSERT_TRUE(worker.Start().ok());
  broker_.Welcome(MakeWelcome());
  const auto outcome = [&](uint32_t n, const std::string& payload) {
    broker_.Deliver(Task(n), 100 + n, "t", payload);
    const v1::WorkRequest request = broker_.NextThat(HasOutcomeOf(Task(n)));
    Acknowledge(request.frame_number());
    return request.outcomes(0);
  };
  const v1::TaskOutcome retry = outcome(1, "retry");
  EXPECT_EQ(retry.failed().retry_after().seconds(), 30);
  EXPECT_EQ(retry.failed().cool(), v1::COOL_SCOPE_KEY);
  const v1::TaskOutcome snooze = outcome(2, "snooze");
  EXPECT_EQ(snooze.snoozed().delay().seconds(), 3'600);
  EXPECT_EQ(snooze.snoozed().cool(), v1::COOL_SCOPE_TYPE);
  EXPECT_EQ(outcome(3, "none").failed().cool(), v1::COOL_SCOPE_UNSPECIFIED);
  const v1::TaskOutcome alone = outcome(4, "alone");
  EXPECT_EQ(alone.failed().retry_after().seconds(), 5 * 3'600);
  EXPECT_EQ(alone.failed().cool(), v1::COOL_SCOPE_UNSPECIFIED);
  worker.Stop();
}

TEST_F(SessionTest, TimeoutOfOneTaskOfABatchFailsItAloneAndKeepsItsSlot) {
  WorkerOptions options = Options();
  options.concurrency = 3;
  options.prefetch = 0;
  Worker worker(options);
  Mutex mu;
  CondVar changed;
  bool open = false;
  worker.RegisterRawBatch("t",
                          [&](std::span<const RawBatchTask> tasks) {
                            EXPECT_EQ(tasks.size(), 3u);
                            while (!tasks[1].context.WaitForCancel(absl::Minutes(1))) {
                            }
                            EXPECT_EQ(tasks[1].context.cancel_reason(), CancelReason::kTimeout);
                            EXPECT_FALSE(tasks[0].context.cancelled());
                            MutexLock lock(mu);
                            while (!open) changed.Wait(mu);
                            return std::vector<Outcome>(3, Outcome::Done("done"));
                          },
                          {.max_wait = absl::Seconds(10)});
  ASSERT_TRUE(worker.Start().ok());
  broker_.Welcome(MakeWelcome());
  EXPECT_EQ(broker_.Next().credit(), 3);
  v1::WorkResponse response;
  for (uint32_t n = 1; n <= 3; ++n) {
    v1::Delivery* delivery = response.add_deliveries();
    delivery->set_task_id(Task(n).ToString());
    delivery->set_fencing_token(100 + n);
    delivery->mutable_spec()->set_queue("q");
    delivery->mutable_spec()->set_type("t");
    delivery->mutable_run_timeout()->set_nanos(n == 2 ? 20'000'000 : 0);
    delivery->mutable_run_timeout()->set_seconds(n == 2 ? 0 : 60);
  }
  broker_.Send(response);
  v1::WorkRequest request = broker_.NextThat(HasOutcomeOf(Task(2)));
  ASSERT_EQ(request.outcomes_size(), 1);
  EXPECT_EQ(request.outcomes(0).failed().error().type(), "timeout");
  EXPECT_EQ(request.credit(), 0) << "its slot is taken until the batch ends";
  EXPECT_THAT(request.stuck_task_ids(), ElementsAre(Task(2).ToString()));
  {
    MutexLock lock(mu);
    open = true;
  }
  changed.SignalAll();
  request = broker_.NextThat([](const v1::WorkRequest& r) { return r.outcomes_size() > 0; });
  EXPECT_EQ(request.outcomes_size(), 2) << "in one frame";
  EXPECT_EQ(request.outcomes(0).completed().result(), "done");
  EXPECT_EQ(request.credit(), 3);
  Acknowledge(request.frame_number());
  worker.Stop();
}

TEST_F(SessionTest, StopHandsBackWhatHasNotStartedAndSaysGoodbye) {
  WorkerOptions options = Options();
  options.concurrency = 1;
  options.drain_grace = absl::ZeroDuration();
  auto worker = MakeWorker(options);
  broker_.Welcome(MakeWelcome());
  broker_.Deliver(Task(1), 101, "wait");
  broker_.NextThat(HasStart);
  broker_.Deliver(Task(2), 102, "wait");
  std::thread stopper([&] { worker->Stop(); });
  int outcomes = 0;
  while (true) {
    const v1::WorkRequest request = broker_.Next();
    for (const v1::TaskOutcome& outcome : request.outcomes()) {
      ++outcomes;
      EXPECT_EQ(outcome.has_released(), outcome.task_id() == Task(2).ToString());
    }
    if (request.frame_number() != 0) Acknowledge(request.frame_number());
    if (request.goodbye()) break;
  }
  stopper.join();
  EXPECT_EQ(outcomes, 2);
  EXPECT_EQ(reason_, CancelReason::kShutdown);
}

TEST_F(SessionTest, OperatorsDrainEndsWait) {
  auto worker = MakeWorker(Options());
  broker_.Welcome(MakeWelcome());
  v1::WorkResponse response;
  response.set_drain(true);
  broker_.Send(response);
  EXPECT_EQ(broker_.NextThat([](const v1::WorkRequest& r) { return r.draining(); }).credit(), 0);
  EXPECT_TRUE(worker->Wait().ok());
  worker->Stop();
  worker->Stop();
}

TEST_F(SessionTest, SignalEndsRunWithAGoodbye) {
  Worker worker(Options());
  worker.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(); });
  absl::Status status = absl::UnknownError("running");
  std::thread program([&] { status = worker.Run(); });
  broker_.Welcome(MakeWelcome());
  EXPECT_EQ(broker_.Next().credit(), 3) << "it has read the welcome";
  kill(getpid(), SIGTERM);  // whichever thread it hits
  broker_.NextThat([](const v1::WorkRequest& r) { return r.goodbye(); });
  program.join();
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(SessionTest, SecondStartAndStopsBeforeAndAfterAreHarmless) {
  Worker worker(Options());
  worker.Stop();
  worker.Drain();
  EXPECT_FALSE(worker.Start().ok()) << "no handler";
  worker.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(); });
  EXPECT_TRUE(worker.Start().ok());
  EXPECT_FALSE(worker.Start().ok());
  worker.Stop();
  worker.Stop();
}

TEST_F(SessionTest, WorkerThatNeverReachedABrokerStopsAtOnce) {
  WorkerOptions options = Options();
  options.broker = "127.0.0.1:1";
  auto worker = MakeWorker(options);
  worker->Stop();
}

}  // namespace
}  // namespace penstock
