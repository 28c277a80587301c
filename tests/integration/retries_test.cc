// Backoffs, lives, cooling and checkpoints, from client and command line to workers and back, with a clock that the
// test moves.

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "broker/test_broker.h"
#include "client/cli/app.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "penstock/v1/worker_service.grpc.pb.h"

namespace penstock {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A worker on the bare API: it says what it is told to, and nothing by itself.
class BareWorker {
 public:
  BareWorker(const std::string& broker, const std::string& queue, int credit)
      : stub_(v1::WorkerService::NewStub(grpc::CreateChannel(broker, grpc::InsecureChannelCredentials()))),
        stream_(stub_->Work(&context_)) {
    v1::WorkRequest request;
    v1::Hello* hello = request.mutable_hello();
    hello->set_worker_name("bare");
    hello->add_queues(queue);
    hello->add_types()->set_type("t");
    hello->set_concurrency(10);
    request.set_credit(credit);
    EXPECT_TRUE(stream_->Write(request));
  }
  ~BareWorker() {
    context_.TryCancel();
    stream_->Finish();
  }

  v1::Delivery Next() {
    while (deliveries_.empty()) {
      v1::WorkResponse response;
      if (!stream_->Read(&response)) {
        ADD_FAILURE() << "the stream has ended";
        return {};
      }
      acknowledged_ = std::max(acknowledged_, response.acknowledged_frame());
      for (const v1::Delivery& delivery : response.deliveries()) deliveries_.push_back(delivery);
      for (const v1::Refusal& refusal : response.refusals()) refusals.push_back(refusal.message());
    }
    v1::Delivery next = deliveries_.front();
    deliveries_.erase(deliveries_.begin());
    return next;
  }
  // Says it, and returns when the broker has it on disk. No tasks come meanwhile that are not kept for Next.
  void Say(v1::WorkRequest request) {
    request.set_frame_number(++frame_);
    EXPECT_TRUE(stream_->Write(request));
    v1::WorkResponse response;
    while (acknowledged_ < frame_ && stream_->Read(&response)) {
      acknowledged_ = std::max(acknowledged_, response.acknowledged_frame());
      for (const v1::Delivery& delivery : response.deliveries()) deliveries_.push_back(delivery);
      for (const v1::Refusal& refusal : response.refusals()) refusals.push_back(refusal.message());
    }
    EXPECT_GE(acknowledged_, frame_);
  }
  v1::WorkRequest Start(const v1::Delivery& delivery) {
    v1::WorkRequest request;
    Name(delivery, request.add_starts());
    return request;
  }
  static v1::WorkRequest Save(const v1::Delivery& delivery, double percent, const std::string& checkpoint) {
    v1::WorkRequest request;
    v1::ProgressReport* report = request.add_progress_reports();
    Name(delivery, report);
    report->set_percent(percent);
    report->set_checkpoint(checkpoint);
    return request;
  }
  static v1::WorkRequest Fail(const v1::Delivery& delivery, const std::string& message, int credit = 0) {
    v1::WorkRequest request;
    v1::TaskOutcome* outcome = request.add_outcomes();
    Name(delivery, outcome);
    outcome->mutable_failed()->mutable_error()->set_type("Error");
    outcome->mutable_failed()->mutable_error()->set_message(message);
    outcome->mutable_failed()->mutable_error()->set_detail("a stack");
    request.set_credit(credit);
    return request;
  }
  static v1::WorkRequest Complete(const v1::Delivery& delivery, int credit = 0) {
    v1::WorkRequest request;
    v1::TaskOutcome* outcome = request.add_outcomes();
    Name(delivery, outcome);
    outcome->mutable_completed();
    request.set_credit(credit);
    return request;
  }

  std::vector<std::string> refusals;

 private:
  template <class Part>
  static void Name(const v1::Delivery& delivery, Part* part) {
    part->set_task_id(delivery.task_id());
    part->set_fencing_token(delivery.fencing_token());
  }

  grpc::ClientContext context_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkRequest, v1::WorkResponse>> stream_;
  std::vector<v1::Delivery> deliveries_;
  uint64_t frame_ = 0;
  uint64_t acknowledged_ = 0;
};

class RetriesTest : public ::testing::Test {
 protected:
  TaskId Enqueue(EnqueueOptions options = {}) {
    const auto id = client_->Enqueue("mail", "t", "payload", std::move(options));
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(TaskId());
  }
  TaskInfo Get(TaskId id) {
    const auto task = client_->GetTask(id, /*include_payload=*/true);
    EXPECT_TRUE(task.ok()) << task.status();
    return task.value_or(TaskInfo());
  }

  struct Ran {
    int code = 0;
    std::string out;
    std::string err;
  };
  Ran Cli(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--endpoint=" + broker_->address());
    std::istringstream in;
    std::ostringstream out, err;
    cli::Console console{in, out, err};
    Ran ran;
    ran.code = cli::RunCli(arguments, console);
    ran.out = out.str();
    ran.err = err.str();
    return ran;
  }

  std::unique_ptr<TestBroker> broker_ = TestBroker::Start().value();
  std::unique_ptr<Client> client_ = Client::Connect(broker_->address()).value();
};

TEST_F(RetriesTest, WaitsGrowAsTheBackoffSays) {
  const TaskId task =
      Enqueue({.initial_backoff = absl::Seconds(10), .backoff_jitter = 0, .backoff = BackoffKind::kLinear});
  BareWorker worker(broker_->address(), "mail", 1);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    worker.Say(BareWorker::Fail(worker.Next(), "no", 1));
    broker_->Advance(attempt * absl::Seconds(10) - absl::Milliseconds(1));
    EXPECT_EQ(Get(task).state, TaskState::kRetryable) << attempt;
    broker_->Advance(absl::Milliseconds(1));
  }
  worker.Say(BareWorker::Complete(worker.Next()));
  const TaskInfo done = Get(task);
  EXPECT_EQ(done.state, TaskState::kCompleted);
  ASSERT_EQ(done.attempts.size(), 4u);
  for (int i = 0; i < 3; ++i) {
    const TaskAttempt& attempt = done.attempts[static_cast<size_t>(i)];
    EXPECT_EQ(attempt.outcome, "failed");
    EXPECT_EQ(attempt.worker, "bare");
    EXPECT_EQ(attempt.error_type + ": " + attempt.error_message + " " + attempt.error_detail, "Error: no a stack");
    EXPECT_GE(attempt.end_time, attempt.start_time);
  }
}

TEST_F(RetriesTest, ALifeEndsWhateverTheTaskWaitsFor) {
  const TaskId waits = Enqueue({.delay = absl::Seconds(20), .life_timeout = absl::Minutes(1)});
  const TaskId late = Enqueue({.start_within = absl::Seconds(30)});
  broker_->Advance(absl::Seconds(30));
  EXPECT_EQ(client_->WaitTask(late, absl::Minutes(1))->dead_reason, "expired");
  broker_->Advance(absl::Seconds(49));
  EXPECT_EQ(Get(waits).state, TaskState::kAvailable);
  broker_->Advance(absl::Seconds(1));
  EXPECT_EQ(client_->WaitTask(waits, absl::Minutes(1))->dead_reason, "timed out");
  EXPECT_THAT(Cli({"task", "get", waits.ToString()}).out, HasSubstr("dead, timed out"));
}

TEST_F(RetriesTest, AnAttemptGetsNoMoreTimeThanItsTaskHasLeft) {
  const TaskId task = Enqueue({.life_timeout = absl::Minutes(10),
                               .initial_backoff = absl::Minutes(4),
                               .backoff_jitter = 0,
                               .backoff = BackoffKind::kFixed});
  BareWorker worker(broker_->address(), "mail", 1);
  v1::Delivery delivery = worker.Next();
  EXPECT_EQ(delivery.run_timeout().seconds(), 600);
  worker.Say(BareWorker::Fail(delivery, "first", 1));
  broker_->Advance(absl::Minutes(4));
  delivery = worker.Next();
  EXPECT_EQ(delivery.run_timeout().seconds(), 360);
  broker_->Advance(absl::Minutes(2));
  worker.Say(BareWorker::Fail(delivery, "second"));
  const TaskInfo dead = Get(task);
  EXPECT_EQ(dead.state, TaskState::kDead);
  EXPECT_EQ(dead.dead_reason, "timed out");
  EXPECT_EQ(dead.attempts.back().error_message, "second");
}

TEST_F(RetriesTest, WhatAHandlerSavedIsHandedToTheNextAttempt) {
  const TaskId task = Enqueue();
  v1::Delivery delivery;
  {
    BareWorker worker(broker_->address(), "mail", 1);
    delivery = worker.Next();
    EXPECT_EQ(delivery.checkpoint(), "");
    worker.Say(worker.Start(delivery));
    worker.Say(BareWorker::Save(delivery, 10, "row 100"));
    worker.Say(BareWorker::Save(delivery, 20, "row 200"));
    worker.Say(BareWorker::Save(delivery, 30, std::string(100'000, 'x')));
    EXPECT_THAT(worker.refusals, ElementsAre(HasSubstr("limits.checkpoint")));
    EXPECT_EQ(Get(task).checkpoint, "row 200");
    EXPECT_EQ(client_->GetTask(task)->checkpoint, "") << "only with the payload";
  }
  while (Get(task).state == TaskState::kRunning) {  // until the broker knows that its worker is gone
  }
  broker_->Restart();
  BareWorker worker(broker_->address(), "mail", 1);
  delivery = worker.Next();
  EXPECT_EQ(delivery.attempt(), 2);
  EXPECT_EQ(delivery.checkpoint(), "row 200");
  EXPECT_EQ(Cli({"task", "checkpoint", task.ToString()}).out, "row 200");
  EXPECT_THAT(Cli({"task", "get", "--payload", task.ToString()}).out, HasSubstr("saved     7 B: row 200"));
  worker.Say(BareWorker::Complete(delivery));
  const Ran none = Cli({"task", "checkpoint", task.ToString()});
  EXPECT_EQ(none.code, 6);
  EXPECT_THAT(none.err, HasSubstr("is completed: what its handler saved is no longer kept"));
}

TEST_F(RetriesTest, WhatIsLeftOfARunIsToldAndRunsDown) {
  const TaskId task = Enqueue();
  BareWorker worker(broker_->address(), "mail", 1);
  const v1::Delivery delivery = worker.Next();
  worker.Say(worker.Start(delivery));
  broker_->Advance(absl::Seconds(10));
  worker.Say(BareWorker::Save(delivery, 25, ""));
  EXPECT_EQ(Get(task).remaining, std::optional(absl::Seconds(30)));
  broker_->Advance(absl::Seconds(20));
  EXPECT_EQ(Get(task).remaining, std::optional(absl::Seconds(10)));
  EXPECT_THAT(Cli({"task", "get", task.ToString()}).out, HasSubstr("progress  25%, 10s left, told "));
}

TEST_F(RetriesTest, AQueueIsLeftAloneWhenAHandlerAsksForIt) {
  const TaskId first = Enqueue();
  BareWorker worker(broker_->address(), "mail", 1);
  v1::WorkRequest request = BareWorker::Fail(worker.Next(), "429", 4);
  request.mutable_outcomes(0)->mutable_failed()->mutable_retry_after()->set_seconds(30);
  request.mutable_outcomes(0)->mutable_failed()->set_cool(v1::COOL_SCOPE_QUEUE);
  worker.Say(request);
  const TaskId second = Enqueue();
  EXPECT_EQ(Get(second).waiting_reason, "a handler asked to leave queue mail alone for another 30s");
  broker_->Advance(absl::Seconds(29));
  EXPECT_EQ(Get(second).state, TaskState::kAvailable);
  broker_->Advance(absl::Seconds(1));
  std::vector<std::string> came = {worker.Next().task_id(), worker.Next().task_id()};
  EXPECT_THAT(came, testing::UnorderedElementsAre(first.ToString(), second.ToString()));
  EXPECT_THAT(worker.refusals, IsEmpty());
}

TEST_F(RetriesTest, QueuesSayHowTheirTasksWaitAndForHowLongTheyKeepTheCancelled) {
  Ran ran = Cli(
      {"queue", "create", "mail", "--backoff", "linear", "--initial-backoff", "10s", "--cancelled-retention", "1h"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("waits of 10s x the attempts so far up to 1h"));
  EXPECT_THAT(ran.out, HasSubstr("completed 1d, cancelled 1h, dead 30d"));
  ran = Cli({"queue", "update", "mail", "--multiplier", "3"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("queue.settings.retry_policy.multiplier"));
  ran = Cli({"queue", "update", "mail", "--backoff", "fixed"});
  EXPECT_THAT(ran.out, HasSubstr("waits of 10s up to 1h"));
  ran = Cli({"queue", "update", "mail", "--backoff", "exponential", "--multiplier", "3"});
  EXPECT_THAT(ran.out, HasSubstr("waits of 10s x 3 up to 1h")) << ran.err;
  const TaskId task = Enqueue();
  ASSERT_TRUE(client_->CancelTask(task).ok());
  broker_->Advance(absl::Minutes(59));
  EXPECT_EQ(Get(task).state, TaskState::kCancelled);
  broker_->Advance(absl::Minutes(1));
  Ran gone;
  do {  // until the broker has come to it
    gone = Cli({"task", "get", task.ToString()});
  } while (gone.code == 0);
  EXPECT_EQ(gone.code, 3);
}

}  // namespace
}  // namespace penstock
