// Real daemons in processes of their own: what happens when they are killed.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "absl/time/clock.h"
#include "client/client.h"
#include "common/coding.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/project_paths.h"
#include "tests/support/temp_folder.h"
#include "worker/worker.h"

namespace penstock {
namespace {

using ::testing::HasSubstr;
using testing::Process;
using testing::TempFolder;

constexpr absl::Duration kLong = absl::Minutes(3);
const std::string kBin = BuildPath("bin/");

class DaemonsTest : public ::testing::Test {
 protected:
  // The first start takes any port, later ones the same.
  void StartBroker(std::vector<std::string> more = {}) {
    std::vector<std::string> command = {kBin + "penstock-broker",           "--data-dir",     data(), "--grpc.address",
                                        fmt::format("127.0.0.1:{}", port_), "--http.address", ""};
    command.insert(command.end(), more.begin(), more.end());
    broker_ = std::make_unique<Process>(command);
    const std::string line = broker_->WaitForLine("ready grpc=");
    ASSERT_FALSE(line.empty()) << broker_->output();
    port_ = std::atoi(line.c_str() + line.find("grpc=") + 5);
  }
  void KillBroker() {
    broker_->Signal(SIGKILL);
    broker_->Wait();
  }
  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }
  std::string data() const { return folder_.path() + "/data"; }
  std::unique_ptr<Client> Connect() { return Client::Connect(address()).value(); }
  std::unique_ptr<Process> StartWorker(const std::string& handlers, const std::string& more = "") {
    const std::string config = folder_.path() + fmt::format("/worker{}.yaml", ++workers_);
    std::ofstream(config) << "broker: " << address() << "\nqueues: [q]\nconcurrency: 4\n"
                          << more << "handlers:\n"
                          << handlers;
    auto worker = std::make_unique<Process>(std::vector<std::string>{kBin + "penstock-worker", "--config", config});
    EXPECT_FALSE(worker->WaitForLine("connected").empty()) << worker->output();
    return worker;
  }

  // Handlers that read this pipe wait until LetGo.
  std::string MakePipe(const std::string& name) {
    const std::string path = folder_.path() + "/" + name;
    EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
    return path;
  }
  // Whoever takes in orphans may leave a process that has ended as a zombie for a while.
  static bool Runs(pid_t pid) {
    std::string name, state;
    return bool(std::ifstream(fmt::format("/proc/{}/stat", pid)) >> name >> name >> state) && state != "Z";
  }
  static void LetGo(const std::string& pipe) { std::ofstream writer(pipe); }

  TempFolder folder_;
  std::unique_ptr<Process> broker_;
  int port_ = 0;
  int workers_ = 0;
};

TEST_F(DaemonsTest, NothingAcknowledgedIsLostWhenTheBrokerIsKilledAgainAndAgain) {
  StartBroker();
  auto client = Connect();
  std::atomic<bool> stop = false;
  std::vector<TaskId> ids;
  std::thread producer([&] {
    while (!stop) {
      auto id = client->Enqueue("q", "echo", std::to_string(ids.size()), {.timeout = kLong});
      ASSERT_TRUE(id.ok()) << id.status();
      ids.push_back(*id);
    }
  });
  WorkerOptions options;
  options.broker = address();
  options.queues = {"q"};
  Worker worker(options);
  std::atomic<int> runs = 0;
  worker.RegisterRaw("echo", [&](TaskContext&, std::string_view payload) {
    ++runs;
    return Outcome::Done(std::string(payload));
  });
  ASSERT_TRUE(worker.Start().ok());
  for (int i = 0; i < 4; ++i) {
    // Killed while tasks wait, run and finish.
    const int before = runs;
    while (runs < before + 50) std::this_thread::yield();
    KillBroker();
    StartBroker();
  }
  stop = true;
  producer.join();
  ASSERT_FALSE(ids.empty());
  EXPECT_EQ(std::set<TaskId>(ids.begin(), ids.end()).size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    auto result = client->Wait<std::string>(ids[i], kLong);
    ASSERT_TRUE(result.ok()) << "task " << i << ": " << result.status();
    ASSERT_EQ(*result, std::to_string(i));
  }
  worker.Stop();
  // A worker that outlives the broker keeps its tasks: nothing ran twice.
  EXPECT_EQ(runs, static_cast<int>(ids.size()));
}

TEST_F(DaemonsTest, TasksThatRunWhileTheBrokerIsKilledAreReclaimedAndFinishOnce) {
  StartBroker();
  auto client = Connect();
  WorkerOptions options;
  options.broker = address();
  options.queues = {"q"};
  options.concurrency = 3;
  Worker worker(options);
  std::atomic<int> runs = 0;
  std::atomic<bool> open = false;
  worker.RegisterRaw("gate", [&](TaskContext& context, std::string_view) {
    ++runs;
    open.wait(false);
    return Outcome::Done(std::to_string(context.attempt()));
  });
  ASSERT_TRUE(worker.Start().ok());
  // Three run, three wait with the worker, the others with the broker.
  std::vector<TaskId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(client->Enqueue("q", "gate", "").value());
  while (runs < 3) std::this_thread::yield();
  for (int i = 0; i < 2; ++i) {
    // Killed once the broker knows that they run.
    for (int running = 0; running < 3;) {
      running = 0;
      for (const TaskId id : ids) {
        const TaskInfo task = client->GetTask(id).value();
        running += task.state == TaskState::kRunning && !task.attempts.empty() ? 1 : 0;
      }
    }
    KillBroker();
    StartBroker();
  }
  open = true;
  open.notify_all();
  for (const TaskId id : ids) {
    auto result = client->Wait<std::string>(id, kLong);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(*result, "1");
    EXPECT_EQ(client->GetTask(id)->attempts.size(), 1u);
  }
  worker.Stop();
  EXPECT_EQ(runs, 10);
}

TEST_F(DaemonsTest, TasksOfAKilledWorkerRunElsewhereAfterTheGrace) {
  StartBroker({"--sessions.grace", "1s"});
  auto client = Connect();
  const std::string mark = folder_.path() + "/first";
  // The first run never ends; the second does.
  const std::string handler = "  - type: slow\n    command: [/bin/sh, -c, \"if mkdir " + mark +
                              " 2>/dev/null; then echo started >&2; exec sleep 1000; fi; echo $PENSTOCK_ATTEMPT\"]\n";
  auto first = StartWorker(handler);
  const TaskId id = client->Enqueue("q", "slow", "").value();
  while (!std::filesystem::exists(mark)) std::this_thread::yield();
  first->Signal(SIGKILL);
  first->Wait();
  auto second = StartWorker(handler);
  auto result = client->Wait<std::string>(id, kLong);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*result, "2\n");
  auto task = client->GetTask(id);
  ASSERT_EQ(task->attempts.size(), 2u);
  EXPECT_EQ(task->attempts[0].outcome, "lost");
}

// The units have systemd start a worker again that ended by a signal (tests/install/units_test.py).
TEST_F(DaemonsTest, PluginThatCrashesItsWorkerUsesUpItsOwnAttemptsAndOtherTasksRunAgain) {
  StartBroker({"--sessions.grace", "1s"});
  auto client = Connect();
  const auto await_run = [&](TaskId id, size_t attempt) {
    while (true) {
      const TaskInfo task = client->GetTask(id).value();
      if (task.state == TaskState::kRunning && task.attempts.size() == attempt) return;
    }
  };
  const std::string held = MakePipe("held");
  const std::string trigger = MakePipe("trigger");
  const std::string handlers = "  - plugin: " CRASHING_PLUGIN "\n";
  auto worker = StartWorker(handlers);
  const TaskId hold = client->Enqueue("q", "hold", held).value();
  await_run(hold, 1);
  const TaskId crash = client->Enqueue("q", "crash", trigger, {.max_attempts = 2}).value();
  await_run(crash, 1);
  LetGo(trigger);
  EXPECT_EQ(worker->Wait(), 128 + SIGSEGV) << worker->output();

  worker = StartWorker(handlers);
  EXPECT_EQ(client->Wait<std::string>(hold, kLong).value(), "2");
  await_run(crash, 2);
  LetGo(trigger);
  EXPECT_EQ(worker->Wait(), 128 + SIGABRT) << worker->output();

  const TaskInfo dead = client->WaitTask(crash, kLong).value();
  EXPECT_EQ(dead.state, TaskState::kDead);
  EXPECT_EQ(dead.dead_reason, "attempts used up");
  ASSERT_EQ(dead.attempts.size(), 2u);
  for (const TaskAttempt& attempt : dead.attempts) {
    EXPECT_EQ(attempt.outcome, "lost");
    EXPECT_EQ(attempt.error_type, "worker lost");
    EXPECT_THAT(attempt.error_message, HasSubstr("worker's connection broke"));
  }
  const TaskInfo other = client->GetTask(hold).value();
  ASSERT_EQ(other.attempts.size(), 2u);
  EXPECT_EQ(other.attempts[0].outcome, "lost");
  EXPECT_EQ(other.attempts[1].outcome, "completed");

  worker = StartWorker(handlers);
  const TaskId next = client->Enqueue("q", "hold", held).value();
  await_run(next, 1);
  LetGo(held);
  EXPECT_EQ(client->Wait<std::string>(next, kLong).value(), "1");
}

TEST_F(DaemonsTest, CommandThatCrashesHarmsNoOtherTask) {
  StartBroker();
  auto client = Connect();
  const std::string held = MakePipe("held");
  auto worker = StartWorker(
      "  - type: crash\n    command: [/bin/sh, -c, \"kill -SEGV $$\"]\n"
      "  - type: hold\n    command: [/bin/sh, -c, \"cat " +
      held + "; echo $PENSTOCK_ATTEMPT\"]\n");
  const TaskId hold = client->Enqueue("q", "hold", "").value();
  while (client->GetTask(hold)->state != TaskState::kRunning) std::this_thread::yield();
  const TaskInfo crash =
      client->WaitTask(client->Enqueue("q", "crash", "", {.max_attempts = 1}).value(), kLong).value();
  EXPECT_EQ(crash.state, TaskState::kDead);
  ASSERT_EQ(crash.attempts.size(), 1u);
  EXPECT_EQ(crash.attempts[0].outcome, "failed");
  EXPECT_EQ(crash.attempts[0].error_type, "signal SEGV");
  LetGo(held);
  EXPECT_EQ(client->Wait<std::string>(hold, kLong).value(), "1\n");
}

TEST_F(DaemonsTest, CommandOfAKilledWorkerEndsWithIt) {
  StartBroker();
  auto client = Connect();
  const std::string pid_file = folder_.path() + "/pid";
  auto worker = StartWorker("  - type: slow\n    command: [/bin/sh, -c, \"echo $$ > " + pid_file + ".new; mv " +
                            pid_file + ".new " + pid_file + "; exec sleep 1000\"]\n");
  ASSERT_TRUE(client->Enqueue("q", "slow", "").ok());
  while (!std::filesystem::exists(pid_file)) std::this_thread::yield();
  pid_t pid = 0;
  std::ifstream(pid_file) >> pid;
  ASSERT_EQ(kill(pid, 0), 0);
  worker->Signal(SIGKILL);
  worker->Wait();
  while (Runs(pid)) std::this_thread::yield();
}

TEST_F(DaemonsTest, TermHandsBackACommandThatIgnoresItAndLeavesNothingRunning) {
  StartBroker();
  auto client = Connect();
  const std::string pids = folder_.path() + "/pids";
  // Neither the program nor what it started ends at SIGTERM.
  auto worker = StartWorker("  - type: deaf\n    command: [/bin/sh, -c, \"trap '' TERM; sleep 1000 & echo $$ $! > " +
                                pids + ".new; mv " + pids + ".new " + pids + "; wait\"]\n",
                            "drain_grace: 0s\n");
  const TaskId id = client->Enqueue("q", "deaf", "", {.max_attempts = 1}).value();
  while (!std::filesystem::exists(pids)) std::this_thread::yield();
  pid_t leader = 0, child = 0;
  std::ifstream(pids) >> leader >> child;
  ASSERT_EQ(kill(child, 0), 0);
  worker->Signal(SIGTERM);
  EXPECT_EQ(worker->Wait(), 0) << worker->output();
  EXPECT_EQ(client->GetTask(id)->state, TaskState::kAvailable);
  const absl::Time limit = absl::Now() + absl::Seconds(30);
  while ((Runs(leader) || Runs(child)) && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_FALSE(Runs(leader));
  EXPECT_FALSE(Runs(child)) << "nobody is left to end it: pid " << child;
  if (Runs(child)) kill(child, SIGKILL);
  auto second = StartWorker("  - type: deaf\n    command: [/bin/sh, -c, \"echo $PENSTOCK_ATTEMPT\"]\n");
  EXPECT_EQ(client->Wait<std::string>(id, kLong).value(), "1\n") << "it still has its one attempt";
}

TEST_F(DaemonsTest, NoCommandOutlivesItsWorkerWhateverItWasToldBefore) {
  StartBroker();
  auto client = Connect();
  const std::string pids = folder_.path() + "/pids";
  auto worker =
      StartWorker("  - type: deaf\n    kill_grace: 10m\n    command: [/bin/sh, -c, \"trap '' TERM; sleep 1000 & " +
                      ("echo $$ $! > " + pids) + ".new; mv " + pids + ".new " + pids + "; wait\"]\n",
                  "drain_grace: 0s\n");
  const TaskId id = client->Enqueue("q", "deaf", "", {.max_attempts = 1, .run_timeout = absl::Seconds(1)}).value();
  while (client->GetTask(id)->state != TaskState::kDead) absl::SleepFor(absl::Milliseconds(5));
  pid_t leader = 0, child = 0;
  std::ifstream(pids) >> leader >> child;
  ASSERT_TRUE(Runs(child)) << "it was given up, and has its kill_grace";
  worker->Signal(SIGTERM);
  EXPECT_EQ(worker->Wait(), 0) << worker->output();
  const absl::Time limit = absl::Now() + absl::Seconds(30);
  while ((Runs(leader) || Runs(child)) && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_FALSE(Runs(leader));
  EXPECT_FALSE(Runs(child)) << "nobody is left to end it: pid " << child;
  if (Runs(child)) kill(child, SIGKILL);
}

TEST_F(DaemonsTest, WorkerWhoseBrokerIsAwayStopsAndSaysWhatWasNotConfirmed) {
  StartBroker();
  auto client = Connect();
  const std::string held = MakePipe("held");
  auto worker = StartWorker("  - type: hold\n    command: [/bin/sh, -c, \"cat " + held + "\"]\n");
  const TaskId id = client->Enqueue("q", "hold", "").value();
  while (client->GetTask(id)->state != TaskState::kRunning) std::this_thread::yield();
  KillBroker();
  EXPECT_FALSE(worker->WaitForLine("disconnected").empty()) << worker->output();
  LetGo(held);
  worker->Signal(SIGTERM);
  EXPECT_EQ(worker->Wait(), 0) << worker->output();
  EXPECT_THAT(worker->output(), HasSubstr("waiting for the broker to take the last outcomes outcomes=1 at_most=5s"));
  EXPECT_THAT(worker->output(), HasSubstr("their tasks may run again outcomes=1"));
}

TEST_F(DaemonsTest, UniqueKeyHoldsAcrossAKillOfTheBroker) {
  StartBroker();
  const EnqueueOptions unique = {.unique_key = "invoice-7"};
  auto client = Connect();
  const NewTask task = {"q", "bill", "first", unique};
  const EnqueueResult first = client->EnqueueMany({task}).value().at(0);
  EXPECT_FALSE(first.duplicate);
  EXPECT_TRUE(client->EnqueueMany({task}).value().at(0).duplicate);
  KillBroker();
  StartBroker();
  const EnqueueResult second = client->EnqueueMany({{"q", "bill", "second", unique}}).value().at(0);
  EXPECT_TRUE(second.duplicate);
  EXPECT_EQ(second.id, first.id);
  EXPECT_EQ(client->Enqueue("q", "bill", "third", unique).value(), first.id);
  // A worker sees one task, the first; when it is finished the key is free.
  const std::string runs = folder_.path() + "/runs";
  auto worker =
      StartWorker("  - type: bill\n    command: [/bin/sh, -c, \"cat >> " + runs + "; echo >> " + runs + "\"]\n");
  ASSERT_TRUE(client->Wait<std::string>(first.id, kLong).ok());
  const EnqueueResult next = client->EnqueueMany({{"q", "bill", "next", unique}}).value().at(0);
  EXPECT_FALSE(next.duplicate);
  ASSERT_TRUE(client->Wait<std::string>(next.id, kLong).ok());
  std::ostringstream handled;
  handled << std::ifstream(runs).rdbuf();
  EXPECT_EQ(handled.str(), "first\nnext\n");
}

TEST_F(DaemonsTest, CommandThatDoesNotReadItsPayloadHarmsNobody) {
  StartBroker();
  auto client = Connect();
  auto worker = StartWorker(
      "  - type: deaf\n    command: [/bin/sh, -c, \"exit 0\"]\n"
      "  - type: count\n    command: [/bin/sh, -c, \"wc -c\"]\n");
  // More than a pipe holds: the rest is written when nobody can read it any more.
  const std::string payload(512 << 10, 'x');
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(client->Wait<std::string>(client->Enqueue("q", "deaf", payload).value(), kLong).ok());
  }
  EXPECT_EQ(client->Wait<std::string>(client->Enqueue("q", "count", payload).value(), kLong).value(), "524288\n");
}

TEST_F(DaemonsTest, TermLetsAWorkerFinishAndTheBrokerExitWithZero) {
  StartBroker();
  auto client = Connect();
  const std::string mark = folder_.path() + "/running";
  auto worker =
      StartWorker("  - type: short\n    command: [/bin/sh, -c, \"touch " + mark + "; sleep 0.3; echo done\"]\n");
  const TaskId id = client->Enqueue("q", "short", "").value();
  while (!std::filesystem::exists(mark)) std::this_thread::yield();
  worker->Signal(SIGTERM);
  EXPECT_EQ(worker->Wait(), 0) << worker->output();
  EXPECT_EQ(client->Wait<std::string>(id, kLong).value(), "done\n");
  broker_->Signal(SIGTERM);
  EXPECT_EQ(broker_->Wait(), 0) << broker_->output();
}

TEST_F(DaemonsTest, ReportPluginMakesAReport) {
  StartBroker();
  auto client = Connect();
  auto worker = StartWorker(fmt::format("  - plugin: {}\n", BuildPath("lib/penstock/plugins/penstock-report.so")));
  const std::string payload = fmt::format(
      R"({{"title":"T","inline":["<testsuite name='s'><testcase name='a' time='1'/></testsuite>"],"output":"{}"}})",
      folder_.path() + "/report.html");
  auto result = client->Wait<std::string>(client->Enqueue("q", "report.generate", payload).value(), kLong);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(*result, HasSubstr("\"tests\":1"));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/report.html"));
  // Broken XML is dead at once, with the parser's message and position.
  auto broken = client->WaitTask(
      client->Enqueue("q", "report.generate", R"({"title":"T","inline":["<testsuite>"],"output":"/tmp/x.html"})")
          .value(),
      kLong);
  EXPECT_EQ(broken->state, TaskState::kDead);
  EXPECT_EQ(broken->dead_reason, "rejected");
  EXPECT_EQ(broken->attempts.size(), 1u);
  EXPECT_THAT(broken->attempts[0].error_message, HasSubstr("inline[0]:1:12"));
}

TEST_F(DaemonsTest, SecondBrokerOnTheSameFolderIsRefused) {
  StartBroker();
  Process second(
      {kBin + "penstock-broker", "--data-dir", data(), "--grpc.address", "127.0.0.1:0", "--http.address", ""});
  EXPECT_EQ(second.Wait(), 73);
  EXPECT_THAT(second.WaitForLine("cannot start"), HasSubstr(std::to_string(broker_->pid())));
}

TEST_F(DaemonsTest, TakenPortIsASentence) {
  StartBroker();
  Process second({kBin + "penstock-broker", "--data-dir", folder_.path() + "/other", "--grpc.address", address(),
                  "--http.address", ""});
  EXPECT_EQ(second.Wait(), 69) << second.output();
  EXPECT_THAT(second.WaitForLine("cannot start"), HasSubstr(std::to_string(port_)));
}

TEST_F(DaemonsTest, OtherAddressWithoutTlsIsRefused) {
  Process broker({kBin + "penstock-broker", "--data-dir", data(), "--grpc.address", "0.0.0.0:0"});
  EXPECT_EQ(broker.Wait(), 78);
  EXPECT_THAT(broker.output(), HasSubstr("insecure"));
}

TEST_F(DaemonsTest, WrongConfigurationNamesFileAndLine) {
  const std::string config = folder_.path() + "/broker.yaml";
  std::ofstream(config) << "limits:\n  payloud: 1MiB\n";
  Process broker({kBin + "penstock-broker", "--config", config, "--check-config"});
  EXPECT_EQ(broker.Wait(), 78);
  EXPECT_THAT(broker.WaitForLine("payloud"), HasSubstr("broker.yaml:2"));
}

}  // namespace
}  // namespace penstock
