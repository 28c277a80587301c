// Bulk jobs on a whole broker: they change each task once, whatever restarts, and their counts are those of a recount.

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "broker/server.h"
#include "broker/storage/memory_store.h"
#include "client/cli/app.h"
#include "client/client.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/recount.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Minutes(2);

class BulkTest : public ::testing::Test {
 protected:
  BulkTest() {
    options_.grpc.address = "127.0.0.1:0";
    options_.http.address = "";
    Start();
    ClientOptions client;
    client.broker = options_.grpc.address;
    client.timeout = kLong;
    client_ = Client::Connect(client).value();
  }
  ~BulkTest() override {
    if (server_ != nullptr) server_->Stop();
  }

  void Start() {
    server_ = broker::Server::StartOn(options_, *store_, SystemClock()).value();
    options_.grpc.address = "127.0.0.1:" + std::to_string(server_->grpc_port());
  }
  void Stop() {
    server_->Stop();
    server_.reset();
  }
  void Restart() {
    Stop();
    store_ = store_->Reopen();
    Start();
  }

  // Of customers 0, 1, 2, 0, ...
  std::vector<TaskId> Enqueue(int count, const EnqueueOptions& options = {}) {
    std::vector<NewTask> tasks;
    for (int i = 0; i < count; ++i) {
      tasks.push_back({"mail", "mail.send", fmt::format(R"({{"customer": {}}})", i % 3), options});
    }
    std::vector<TaskId> ids;
    const auto results = client_->EnqueueMany(std::move(tasks));
    EXPECT_TRUE(results.ok()) << results.status();
    for (const EnqueueResult& result : *results) ids.push_back(result.id);
    return ids;
  }
  std::vector<TaskInfo> List(const TaskFilter& filter) {
    std::vector<TaskInfo> tasks;
    std::string token;
    do {
      auto page = client_->ListTasks(filter, 1'000, token);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) return tasks;
      for (TaskInfo& task : page->tasks) tasks.push_back(std::move(task));
      token = page->next_page_token;
    } while (!token.empty());
    return tasks;
  }
  size_t Count(TaskState state) { return List({.queue = "mail", .states = {state}}).size(); }

  struct Ran {
    int code = 0;
    std::string out;
    std::string err;
  };
  Ran Cli(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--endpoint=" + options_.grpc.address);
    std::istringstream in;
    std::ostringstream out, err;
    cli::Console console{in, out, err};
    Ran ran;
    ran.code = cli::RunCli(arguments, console);
    ran.out = out.str();
    ran.err = err.str();
    return ran;
  }

  BulkJobInfo AwaitProgress(const std::string& id, uint64_t changed) {
    while (true) {
      const auto job = client_->Bulk().Get(id);
      EXPECT_TRUE(job.ok()) << job.status();
      if (!job.ok() || job->changed >= changed || job->ended()) return job.value_or(BulkJobInfo());
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  std::unique_ptr<broker::MemoryStore> store_ = std::make_unique<broker::MemoryStore>();
  broker::BrokerOptions options_;
  std::unique_ptr<broker::Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(BulkTest, CancelsByConditionAcrossARestartEachTaskOnce) {
  Enqueue(3'000);
  Enqueue(900, {.delay = absl::Hours(1)});
  BulkJobSpec spec;
  spec.filter = {.queue = "mail", .where = "payload.customer == 1"};
  spec.rate = 2'000;
  spec.reason = "has left";
  const auto job = client_->Bulk().Start(spec);
  ASSERT_TRUE(job.ok()) << job.status();
  AwaitProgress(job->id, 100);
  Restart();
  const auto ended = client_->Bulk().Wait(job->id, kLong);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state, BulkJobState::kDone);
  EXPECT_EQ(ended->matched, 1'300);
  EXPECT_EQ(ended->changed, 1'300);
  EXPECT_EQ(ended->skipped, 0);
  EXPECT_EQ(Count(TaskState::kCancelled), 1'300);
  EXPECT_EQ(Count(TaskState::kAvailable), 2'000);
  EXPECT_EQ(Count(TaskState::kScheduled), 600);
  EXPECT_TRUE(List({.queue = "mail", .where = "payload.customer == 1"}).empty());
  EXPECT_THAT(Cli({"queue", "get", "mail", "-o", "json"}).out, HasSubstr("\"cancelled_total\": \"1300\""));
  Stop();
  EXPECT_EQ(broker::Recount(broker::CoreOptions(), *store_), "");
}

TEST_F(BulkTest, AFullDiskInTheMiddleLosesNoTaskAndCountsNoneTwice) {
  Enqueue(3'000);
  BulkJobSpec spec;
  spec.filter = {.queue = "mail", .where = "payload.customer == 1"};
  spec.rate = 2'000;
  const auto job = client_->Bulk().Start(spec);
  ASSERT_TRUE(job.ok()) << job.status();
  AwaitProgress(job->id, 100);
  store_->FailNextCommits(absl::ResourceExhaustedError("no space left on device"));
  EXPECT_FALSE(Cli({"enqueue", "other", "t"}).code == 0);
  store_->FailNextCommits(absl::OkStatus());
  const auto ended = client_->Bulk().Wait(job->id, kLong);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->state, BulkJobState::kDone);
  EXPECT_EQ(ended->matched, 1'000);
  EXPECT_EQ(ended->changed, 1'000);
  EXPECT_EQ(Count(TaskState::kCancelled), 1'000);
}

TEST_F(BulkTest, WhatFailsAgainIsNotRetriedAgainByTheSameJob) {
  std::atomic<int> runs{0};
  Worker worker({.broker = options_.grpc.address, .queues = {"mail"}, .concurrency = 8});
  worker.RegisterRaw("mail.send", [&](TaskContext&, std::string_view payload) {
    ++runs;
    return payload.find("1") != std::string_view::npos
               ? Outcome::Reject({"Address", "no such Mailbox", ""})
               : Outcome::RetryAfter(absl::Hours(1), {"Timeout", "no answer", ""});
  });
  ASSERT_TRUE(worker.Start().ok());
  const std::vector<TaskId> ids = Enqueue(300);
  const TaskFilter failed = {.queue = "mail", .states = {TaskState::kRetryable, TaskState::kDead}};
  while (List(failed).size() < ids.size()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(runs, 300);
  EXPECT_EQ(List({.queue = "mail", .error = "MAILBOX"}).size(), 100);
  EXPECT_EQ(List({.queue = "mail", .states = {TaskState::kDead}, .error = "timeout"}).size(), 0);

  BulkJobSpec spec;
  spec.action = BulkAction::kRetry;
  spec.filter.queue = "mail";
  const auto job = client_->Bulk().Start(spec);
  ASSERT_TRUE(job.ok()) << job.status();
  const auto ended = client_->Bulk().Wait(job->id, kLong);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->changed, 300);
  while (List(failed).size() < ids.size() || runs < 600) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(runs, 600) << "each once more";
  worker.Stop();
}

TEST_F(BulkTest, RunningTasksAreAskedToStop) {
  std::atomic<int> started{0};
  Worker worker({.broker = options_.grpc.address, .queues = {"mail"}, .concurrency = 4});
  worker.RegisterRaw("mail.send", [&](TaskContext& context, std::string_view) {
    ++started;
    while (!context.cancelled()) absl::SleepFor(absl::Milliseconds(1));
    return Outcome::Cancelled();
  });
  ASSERT_TRUE(worker.Start().ok());
  Enqueue(4);
  while (started < 4) absl::SleepFor(absl::Milliseconds(1));
  BulkJobSpec spec;
  spec.filter = {.queue = "mail", .states = {TaskState::kRunning}};
  const auto ended = client_->Bulk().Wait(client_->Bulk().Start(spec)->id, kLong);
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->changed, 4);
  while (Count(TaskState::kCancelled) < 4) absl::SleepFor(absl::Milliseconds(1));
  worker.Stop();
}

TEST_F(BulkTest, ListsFindOneKeyAmongMany) {
  std::vector<NewTask> tasks;
  for (int i = 0; i < 6'000; ++i) {
    tasks.push_back({"mail", "mail.send", "{}", {.key = fmt::format("order-{}", i % 5'000)}});
  }
  ASSERT_TRUE(client_->EnqueueMany(std::move(tasks)).ok());
  EXPECT_EQ(List({.queue = "mail", .key = "order-77"}).size(), 2);
  EXPECT_EQ(List({.queue = "mail", .key = "order-4999"}).size(), 1);
  EXPECT_EQ(List({.queue = "mail"}).size(), 6'000);
}

TEST_F(BulkTest, ListsShowATaskThatWasChangedWhileItWaitedOnce) {
  const std::vector<TaskId> ids = Enqueue(4, {.delay = absl::Hours(1)});
  TaskChange later;
  later.delay = absl::Hours(2);
  ASSERT_TRUE(client_->UpdateTask(ids[1], later).ok());
  TaskChange now;
  now.delay = absl::ZeroDuration();
  ASSERT_TRUE(client_->UpdateTask(ids[2], now).ok());
  ASSERT_TRUE(client_->RetryTask(ids[3]).ok());
  EXPECT_EQ(Count(TaskState::kScheduled), 2u);
  EXPECT_EQ(Count(TaskState::kAvailable), 2u);
  EXPECT_EQ(List({.queue = "mail"}).size(), 4u);
}

TEST_F(BulkTest, AreSteeredByTheCommandLine) {
  Enqueue(30);
  Ran ran = Cli({"bulk", "cancel", "--queue", "mail", "--where", "payload.customer == 2", "--dry-run"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(" done: 10 tasks fitted, 30 seen\n"));
  ran = Cli({"bulk", "cancel", "--queue", "mail", "--where", "payload.customer == 2"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("say --yes"));
  ran = Cli({"bulk", "cancel", "--queue", "mail", "--where", "payload.customer == 2", "--yes"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr(" done: 10 cancelled, 0 skipped; 10 tasks fitted, 30 seen\n"));
  ran = Cli({"bulk", "cancel", "--queue", "mail", "--rate", "1/10m", "--detach", "--yes", "-o", "name"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const std::string id = ran.out.substr(0, ran.out.size() - 1);
  EXPECT_THAT(Cli({"bulk", "list"}).out, HasSubstr(id));
  EXPECT_THAT(Cli({"bulk", "get", id}).out, HasSubstr("state     running\n"));
  EXPECT_THAT(Cli({"bulk", "stop", id}).out, HasSubstr(id + " stopped: "));
  EXPECT_EQ(Cli({"bulk", "stop", id}).code, 6);
  EXPECT_EQ(Cli({"bulk", "get", "b0"}).code, 3);
  EXPECT_EQ(Cli({"bulk", "cancel", "--queue", "none", "--yes"}).code, 3);
  ran = Cli({"bulk", "cancel", "--queue", "mail", "--where", "payload.customer = 2", "--yes"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("spec.filter.where: at 18: '=' where =="));
  EXPECT_EQ(Cli({"bulk", "retry", "--queue", "mail", "--state", "running"}).code, 2);
  ran = Cli({"task", "list", "--queue", "mail", "--state", "available", "--where", "payload.customer in [0, 1]", "-o",
             "name", "--limit", "0"});
  EXPECT_EQ(ran.code, 0) << ran.err;
}

}  // namespace
}  // namespace penstock
