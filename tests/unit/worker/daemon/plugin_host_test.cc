// Plug-ins as penstock-worker runs them, against a broker that says and sees what the test wants.

#include "worker/daemon/plugin_host.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_worker_service.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using testing::FakeWorkerService;
using testing::HasOutcomeOf;
using ::testing::HasSubstr;

TaskId Task(uint32_t n) { return TaskId(0, 1, n); }

class PluginHostTest : public ::testing::Test {
 protected:
  PluginHostTest()
      : worker_({.broker = broker_.address(),
                 .name = "tester",
                 .queues = {"q"},
                 .concurrency = 4,
                 .drain_grace = absl::Minutes(1)}) {
    EXPECT_TRUE(LoadPlugin(LAMBDA_PLUGIN, "{}", {}, &worker_).ok());
    EXPECT_TRUE(worker_.Start().ok());
    v1::Welcome welcome;
    welcome.set_session_id("session");
    welcome.mutable_lease()->set_seconds(30);
    broker_.Welcome(welcome);
  }
  ~PluginHostTest() override { worker_.Stop(); }
  // Delivers tasks of a type, in one message, each with its number as its payload.
  void Deliver(const std::string& type, uint32_t first, uint32_t count) {
    v1::WorkResponse response;
    for (uint32_t n = first; n < first + count; ++n) {
      v1::Delivery* delivery = response.add_deliveries();
      delivery->set_task_id(Task(n).ToString());
      delivery->set_fencing_token(100 + n);
      delivery->set_attempt(1);
      delivery->mutable_spec()->set_queue("q");
      delivery->mutable_spec()->set_type(type);
      delivery->mutable_spec()->set_payload(std::to_string(n));
      delivery->mutable_spec()->set_key("customer-1");
      delivery->set_checkpoint("page 7");
    }
    broker_.Send(response);
  }
  v1::WorkRequest WaitForOutcome(uint32_t n) {
    v1::WorkRequest request = broker_.NextThat(HasOutcomeOf(Task(n)));
    v1::WorkResponse response;
    response.set_acknowledged_frame(request.frame_number());
    broker_.Send(response);
    return request;
  }

  FakeWorkerService broker_;
  Worker worker_;
};

TEST_F(PluginHostTest, HandlerEnqueuesWithItsCompletion) {
  Deliver("enqueue", 1, 1);
  const v1::WorkRequest request = WaitForOutcome(1);
  const auto& completed = request.outcomes(0).completed();
  EXPECT_EQ(completed.result(), "yes no no");
  ASSERT_EQ(completed.enqueue_size(), 1);
  EXPECT_EQ(completed.enqueue(0).queue(), "next");
  EXPECT_EQ(completed.enqueue(0).type(), "step.two");
  EXPECT_EQ(completed.enqueue(0).payload(), "1");
  EXPECT_EQ(completed.enqueue(0).delay().seconds(), 30);
}

TEST_F(PluginHostTest, HandlerReadsAndSavesCheckpointsAndCools) {
  Deliver("resume", 1, 1);
  const v1::WorkRequest saved = broker_.NextThat(
      [](const v1::WorkRequest& r) { return r.progress_reports_size() > 0 && r.progress_reports(0).has_checkpoint(); });
  EXPECT_EQ(saved.progress_reports(0).checkpoint(), "page 7 customer-1+");
  const v1::WorkRequest request = saved.outcomes_size() > 0 ? saved : WaitForOutcome(1);
  EXPECT_EQ(request.outcomes(0).failed().retry_after().seconds(), 30);
  EXPECT_EQ(request.outcomes(0).failed().cool(), v1::COOL_SCOPE_KEY);
  if (saved.outcomes_size() > 0) {
    v1::WorkResponse response;
    response.set_acknowledged_frame(saved.frame_number());
    broker_.Send(response);
  }
}

TEST_F(PluginHostTest, BatchHandlerGetsTasksTogetherAndAnswersEach) {
  Deliver("batch", 1, 3);
  const v1::WorkRequest request = WaitForOutcome(3);
  ASSERT_EQ(request.outcomes_size(), 3);
  EXPECT_EQ(request.outcomes(0).completed().result(), "1 of 3");
  EXPECT_EQ(request.outcomes(1).failed().error().message(), "two");
  EXPECT_TRUE(request.outcomes(1).failed().reject());
  EXPECT_EQ(request.outcomes(2).completed().result(), "3 of 3");
}

TEST_F(PluginHostTest, BatchHandlerThatThrowsFailsAllItsTasks) {
  Deliver("batch_throw", 1, 3);
  const v1::WorkRequest request = WaitForOutcome(3);
  ASSERT_EQ(request.outcomes_size(), 3);
  for (const v1::TaskOutcome& outcome : request.outcomes()) {
    EXPECT_THAT(outcome.failed().error().type(), HasSubstr("LedgerError"));
  }
}

}  // namespace
}  // namespace penstock
