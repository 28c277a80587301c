// Throttles from the client and the command line to workers, with a clock that the test moves.

#include <atomic>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "broker/test_broker.h"
#include "client/cli/app.h"
#include "client/client.h"
#include "common/status_details.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::Not;

class ThrottlesTest : public ::testing::Test {
 protected:
  ThrottleClient& throttles() { return client_->Throttles(); }

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

TEST_F(ThrottlesTest, ACapHoldsAcrossWorkersAndARestart) {
  NewThrottle cap;
  cap.name = "cap";
  cap.types = {"t"};
  cap.max_running = 2;
  ASSERT_TRUE(throttles().Create(cap).ok());
  std::atomic<int> running{0}, most{0};
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 3; ++i) {
    workers.push_back(
        std::make_unique<Worker>(WorkerOptions{.broker = broker_->address(), .queues = {"mail"}, .concurrency = 4}));
    workers.back()->RegisterRaw("t", [&](TaskContext&, std::string_view) {
      const int now = ++running;
      int before = most;
      while (before < now && !most.compare_exchange_weak(before, now)) {
      }
      --running;
      return Outcome::Done("");
    });
    ASSERT_TRUE(workers.back()->Start().ok());
  }
  std::vector<TaskId> tasks;
  for (int i = 0; i < 60; ++i) {
    if (i == 30) broker_->Restart();
    const auto task = client_->Enqueue("mail", "t", "payload");
    ASSERT_TRUE(task.ok()) << task.status();
    tasks.push_back(*task);
  }
  for (TaskId task : tasks) {
    EXPECT_EQ(client_->WaitTask(task, absl::Minutes(1)).value().state, TaskState::kCompleted);
  }
  EXPECT_LE(most, 2);
  EXPECT_GE(most, 1);
}

TEST_F(ThrottlesTest, AreSteeredByTheClient) {
  NewThrottle api;
  api.name = "api";
  api.queues = {"mail"};
  api.per = ThrottlePer::kGroup;
  api.rate = ThrottleRate{2, absl::Minutes(1), 0};
  api.note = "the provider's limit";
  const auto made = throttles().Create(api);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->rate->burst, 2);
  EXPECT_EQ(made->note, "the provider's limit");
  EXPECT_TRUE(absl::IsAlreadyExists(throttles().Create(api).status()));

  Worker worker({.broker = broker_->address(), .queues = {"mail"}, .concurrency = 8});
  worker.RegisterRaw("t", [](TaskContext&, std::string_view) { return Outcome::Done(""); });
  ASSERT_TRUE(worker.Start().ok());
  std::vector<TaskId> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(client_->Enqueue("mail", "t", "", {.group = "acme"}).value());
  ASSERT_EQ(client_->WaitTask(tasks[1], absl::Minutes(1)).value().state, TaskState::kCompleted);
  const auto seen = throttles().Get("api");
  ASSERT_TRUE(seen.ok());
  ASSERT_EQ(seen->meters.size(), 1);
  EXPECT_EQ(seen->meters[0].scope, "acme");
  EXPECT_EQ(seen->meters[0].state, MeterState::kRate);
  EXPECT_EQ(seen->meters[0].waiting, 1);
  EXPECT_TRUE(seen->meters[0].open_time);
  broker_->Advance(absl::Seconds(30));
  EXPECT_EQ(client_->WaitTask(tasks[2], absl::Minutes(1)).value().state, TaskState::kCompleted);

  ThrottleChange change;
  change.rate = ThrottleRate{};
  EXPECT_EQ(FieldOf(throttles().Update("api", change).status()), "throttle");
  change.max_running = 5;
  change.queues.emplace();
  const auto updated = throttles().Update("api", change);
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_FALSE(updated->rate);
  EXPECT_EQ(updated->max_running, 5);
  EXPECT_TRUE(updated->queues.empty());
  EXPECT_EQ(throttles().List()->size(), 1);
  EXPECT_TRUE(throttles().Delete("api").ok());
  EXPECT_TRUE(absl::IsNotFound(throttles().Delete("api")));
  EXPECT_TRUE(absl::IsNotFound(throttles().Get("api").status()));

  NewThrottle wrong;
  wrong.name = "wrong";
  EXPECT_EQ(FieldOf(throttles().Create(wrong).status()), "throttle");
  wrong.rate = ThrottleRate{1, absl::Hours(48), 0};
  EXPECT_EQ(FieldOf(throttles().Create(wrong).status()), "throttle.rate.period");
  wrong.rate = ThrottleRate{0, absl::Seconds(1), 0};
  EXPECT_EQ(FieldOf(throttles().Create(wrong).status()), "throttle.rate.tasks");
  wrong.rate.reset();
  wrong.max_running = 1;
  wrong.per = ThrottlePer::kKey;
  EXPECT_EQ(FieldOf(throttles().Create(wrong).status()), "throttle.max_running");
  wrong.per = ThrottlePer::kAll;
  wrong.types = {"no spaces please"};
  EXPECT_EQ(FieldOf(throttles().Create(wrong).status()), "throttle.types[0]");
  EXPECT_EQ(FieldOf(client_->Enqueue("mail", "t", "", {.cost = 1'001}).status()), "cost");
}

TEST_F(ThrottlesTest, AreSteeredByTheCommandLine) {
  Ran ran = Cli({"throttle", "create", "mail-api", "--type", "mail.send", "--max-running", "10", "--rate", "100/s",
                 "--note", "the provider's limit"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("max running 10, 0 run\n"));
  EXPECT_THAT(ran.out, HasSubstr("rate        100/1s, 100 at once\n"));
  ran = Cli({"throttle", "create", "polite", "--per", "key", "--rate", "1/10s"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(Cli({"throttle", "list", "-o", "name"}).out, "mail-api\npolite\n");
  ran = Cli({"throttle", "list"});
  EXPECT_THAT(ran.out, HasSubstr("mail.send"));
  EXPECT_THAT(ran.out, HasSubstr("1/10s"));

  ran = Cli({"throttle", "update", "mail-api", "--no-rate", "--max-running", "3"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, Not(HasSubstr("rate  ")));
  EXPECT_THAT(Cli({"throttle", "update", "mail-api"}).err, HasSubstr("nothing to change"));
  EXPECT_THAT(Cli({"throttle", "update", "mail-api", "--burst", "3"}).err, HasSubstr("--burst goes with --rate"));
  EXPECT_THAT(Cli({"throttle", "create", "x", "--rate", "fast"}).err, HasSubstr("is not TASKS/PERIOD"));
  EXPECT_THAT(Cli({"throttle", "create", "x"}).err, HasSubstr("limits nothing"));
  EXPECT_THAT(Cli({"throttle", "get", "mail-api", "-o", "json"}).out, HasSubstr("\"max_running\": 3"));
  EXPECT_EQ(Cli({"enqueue", "mail", "mail.send", "--cost", "2"}).code, 0);

  EXPECT_EQ(Cli({"throttle", "delete", "polite"}).out, "throttle polite deleted\n");
  EXPECT_NE(Cli({"throttle", "get", "polite"}).code, 0);
}

}  // namespace
}  // namespace penstock
