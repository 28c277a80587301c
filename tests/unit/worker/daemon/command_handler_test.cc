#include "worker/daemon/command_handler.h"

#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <future>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "penstock/v1/task.pb.h"
#include "tests/support/temp_folder.h"
#include "worker/daemon/process_groups.h"
#include "worker/executor.h"
#include "worker/follow_ups.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Runs a command as the executor does, and keeps what it tells.
class CommandTest : public ::testing::Test {
 protected:
  class Recorder : public Executor::Observer {
   public:
    std::vector<bool> OnTurn(std::span<Executor::Ended> ended, std::span<const TaskDelivery> next) override {
      for (Executor::Ended& run : ended) finished.set_value(std::move(run.outcome));
      return std::vector<bool>(next.size(), true);
    }
    void OnCheckpoint(TaskId, uint64_t, std::string checkpoint) override {
      checkpoints.push_back(checkpoint);
      if (checkpoints.size() == 1) saved.set_value(checkpoint);
    }
    void OnProgress(TaskId, uint64_t, double percent, std::string text) override {
      progress.emplace_back(percent, std::move(text));
    }
    void OnLog(TaskId, uint64_t, std::string line) override {
      log.push_back(line);
      if (line == "ready") ready.set_value();
    }
    std::promise<Outcome> finished;
    std::promise<void> ready;
    std::promise<std::string> saved;  // the first
    std::vector<std::pair<double, std::string>> progress;
    std::vector<std::string> log;
    std::vector<std::string> checkpoints;
  };

  static CommandOptions Shell(const std::string& script) {
    CommandOptions options;
    options.command = {"/bin/sh", "-c", script};
    return options;
  }
  void Submit(CommandOptions options, std::string payload = "", std::string checkpoint = "") {
    executor_ = std::make_unique<Executor>(
        1,
        std::map<std::string, RawHandler>{
            {"t",
             [options](TaskContext& context, std::string_view bytes) { return RunCommand(options, context, bytes); }}},
        recorder_);
    TaskDelivery task;
    task.id = TaskId(0, 1, 7);
    task.type = "t";
    task.queue = "q";
    task.attempt = 2;
    task.fencing_token = 99;
    task.run_timeout = run_timeout_;
    task.payload = std::move(payload);
    task.checkpoint = std::move(checkpoint);
    task.key = "customer-1";
    task.group = "acme";
    std::vector<TaskDelivery> tasks;
    tasks.push_back(std::move(task));
    executor_->Submit(std::move(tasks));
  }
  Outcome Run(CommandOptions options, std::string payload = "") {
    Submit(std::move(options), std::move(payload));
    return recorder_->finished.get_future().get();
  }

  // A shell that ignores SIGTERM, tells its pid and says that it is ready, and goes on with `script`.
  std::string Grandchild(const std::string& script) const {
    return fmt::format("sh -c 'trap \"\" TERM; echo $$ > {0}.new; mv {0}.new {0}; echo ready >&2; {1}'", pid_file(),
                       script);
  }
  std::string pid_file() const { return folder_ / "pid"; }
  void ExpectGrandchildEnds() {
    pid_t pid = 0;
    ASSERT_TRUE(std::ifstream(pid_file()) >> pid);
    // Whoever takes in orphans may leave it as a zombie for a while.
    const auto runs = [&] {
      std::string name, state;
      return bool(std::ifstream(fmt::format("/proc/{}/stat", pid)) >> name >> name >> state) && state != "Z";
    };
    const absl::Time limit = absl::Now() + absl::Seconds(30);
    while (runs() && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(1));
    if (!runs()) return;
    ADD_FAILURE() << "process " << pid << " goes on";
    kill(pid, SIGKILL);
  }

  testing::TempFolder folder_;
  absl::Duration run_timeout_;
  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
  std::unique_ptr<Executor> executor_;
};

TEST_F(CommandTest, PayloadInResultOut) {
  Outcome outcome =
      Run(Shell("cat; printf ' %s %s %s' $PENSTOCK_TYPE $PENSTOCK_ATTEMPT $PENSTOCK_FENCING_TOKEN"), "hello");
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kDone);
  EXPECT_EQ(outcome.result(), "hello t 2 99");
}

TEST_F(CommandTest, CheckpointIsReadAndWhatIsWrittenBackIsSaved) {
  Submit(Shell("printf '%s %s %s' \"$(cat \"$PENSTOCK_CHECKPOINT_FILE\")\" $PENSTOCK_KEY $PENSTOCK_GROUP >&2;"
               "echo page 8 > $PENSTOCK_CHECKPOINT_FILE; exit 1"),
         "", "page 7");
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kRetry);
  EXPECT_THAT(recorder_->log, ElementsAre("page 7 customer-1 acme"));
  EXPECT_THAT(recorder_->checkpoints, ElementsAre("page 8\n"));
}

TEST_F(CommandTest, CheckpointIsSavedWhileTheCommandRuns) {
  Submit(
      Shell("echo 8 > $PENSTOCK_CHECKPOINT_FILE.new; mv $PENSTOCK_CHECKPOINT_FILE.new $PENSTOCK_CHECKPOINT_FILE;"
            "echo ready >&2; exec sleep 100"));
  EXPECT_EQ(recorder_->saved.get_future().get(), "8\n");
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kShutdown);
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kRelease);
  EXPECT_THAT(recorder_->checkpoints, ElementsAre("8\n")) << "once";
}

TEST_F(CommandTest, UntouchedEmptyAndTooLargeCheckpointsAreNotSaved) {
  Submit(Shell("exit 1"), "", "page 7");
  recorder_->finished.get_future().get();
  EXPECT_THAT(recorder_->checkpoints, ElementsAre());
  recorder_ = std::make_shared<Recorder>();
  Submit(Shell(": > $PENSTOCK_CHECKPOINT_FILE; exit 1"), "", "page 7");
  recorder_->finished.get_future().get();
  EXPECT_THAT(recorder_->checkpoints, ElementsAre());
  recorder_ = std::make_shared<Recorder>();
  Submit(Shell("head -c 100000 /dev/zero > $PENSTOCK_CHECKPOINT_FILE; exit 1"));
  recorder_->finished.get_future().get();
  EXPECT_THAT(recorder_->checkpoints, ElementsAre());
  EXPECT_THAT(recorder_->log, ElementsAre(HasSubstr("not saved: checkpoint: must be at most 65536 bytes")));
}

TEST_F(CommandTest, TasksAreEnqueuedWithTheCompletion) {
  const Outcome outcome = Run(Shell(
      "echo '{\"queue\": \"mail\", \"type\": \"mail.send\", \"text\": \"hello\", \"delay\": \"30s\"}' >> "
      "$PENSTOCK_ENQUEUE_FILE; echo >> $PENSTOCK_ENQUEUE_FILE;"
      "printf '{\"queue\":\"mail\",\"type\":\"mail.log\",\"json\":{\"to\":\"ann\"},\"unique_key\":{\"key\":\"a\"}}' >> "
      "$PENSTOCK_ENQUEUE_FILE; echo result"));
  ASSERT_EQ(outcome.kind(), Outcome::Kind::kDone);
  ASSERT_NE(outcome.follow_ups(), nullptr);
  ASSERT_EQ(outcome.follow_ups()->tasks.size(), 2u);
  const v1::TaskSpec& first = outcome.follow_ups()->tasks[0];
  EXPECT_EQ(first.queue() + " " + first.type() + " " + first.payload(), "mail mail.send hello");
  EXPECT_EQ(first.delay().seconds(), 30);
  const v1::TaskSpec& second = outcome.follow_ups()->tasks[1];
  EXPECT_EQ(second.payload() + " " + second.content_type(), "{\"to\":\"ann\"} application/json");
  EXPECT_EQ(second.unique_key().key(), "a");
  EXPECT_EQ(outcome.result(), "result\n");
}

TEST_F(CommandTest, TasksOfAFailedCommandAreNothing) {
  const Outcome outcome = Run(Shell("echo nonsense > $PENSTOCK_ENQUEUE_FILE; exit 3"));
  EXPECT_EQ(outcome.error().type, "exit 3");
  EXPECT_EQ(outcome.follow_ups(), nullptr);
}

TEST_F(CommandTest, WrongTaskFailsTheAttemptAndNamesItsLine) {
  const std::string good = R"(echo '{"queue":"q","type":"t"}' >> $PENSTOCK_ENQUEUE_FILE;)";
  const std::pair<std::string, std::string> cases[] = {
      {"nonsense", "line 2: is no JSON object"},
      {R"({"queue":"q","type":"a b"})", "line 2: type: may hold"},
      {R"({"type":"t"})", "line 2: queue: "},
      {R"({"queue":"q","type":"t","priorty":3})", "priorty"},
      {R"({"queue":"q","type":"t","text":"a","json":1})", "line 2: set one of"},
      {R"({"queue":"q","type":"t","text":1})", "line 2: text: must be a string"},
  };
  for (const auto& [line, problem] : cases) {
    recorder_ = std::make_shared<Recorder>();
    const Outcome outcome = Run(Shell(good + "echo '" + line + "' >> $PENSTOCK_ENQUEUE_FILE"));
    EXPECT_EQ(outcome.kind(), Outcome::Kind::kRetry);
    EXPECT_EQ(outcome.error().type, "enqueue");
    EXPECT_THAT(outcome.error().message, HasSubstr(problem));
    EXPECT_EQ(outcome.follow_ups(), nullptr);
  }
}

TEST_F(CommandTest, CommandSaysWhenItIsRunAgainAndWhatCools) {
  const auto run = [&](const std::string& script) {
    recorder_ = std::make_shared<Recorder>();
    return Run(Shell(script));
  };
  Outcome outcome = run("echo busy >&2; echo 'penstock-retry-after: 30s key' >&2; exit 1");
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kRetry);
  EXPECT_EQ(outcome.delay(), absl::Seconds(30));
  EXPECT_EQ(outcome.cool(), CoolScope::kKey);
  EXPECT_EQ(outcome.error().message, "busy") << "what is for the daemon is no message";
  EXPECT_THAT(recorder_->log, ElementsAre("busy"));
  outcome = run("echo 'penstock-snooze: 5m' >&2; exit 75");
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kSnooze);
  EXPECT_EQ(outcome.delay(), absl::Minutes(5));
  EXPECT_EQ(outcome.cool(), CoolScope::kTask);
  EXPECT_EQ(run("echo 'penstock-snooze: 5m' >&2").kind(), Outcome::Kind::kDone);
  EXPECT_EQ(run("echo 'penstock-snooze: 5m' >&2; exit 65").kind(), Outcome::Kind::kReject);
  EXPECT_EQ(run("echo 'penstock-snooze: 5m' >&2; kill -SEGV $$").kind(), Outcome::Kind::kRetry) << "a crash";
  outcome = run("echo 'penstock-retry-after: soon' >&2; echo 'penstock-retry-after: 1s world' >&2; exit 1");
  EXPECT_LT(outcome.delay(), absl::ZeroDuration()) << "none";
  EXPECT_THAT(recorder_->log,
              ElementsAre("penstock-retry-after: soon", HasSubstr("ignored"), "penstock-retry-after: 1s world",
                          HasSubstr("'world' is none of queue, type, group, key")));
}

TEST_F(CommandTest, NothingIsLeftInTheTemporaryFolder) {
  const Outcome outcome = Run(Shell("printf %s $PENSTOCK_CHECKPOINT_FILE; touch $PENSTOCK_CHECKPOINT_FILE.new"));
  EXPECT_THAT(outcome.result(), StartsWith("/"));
  EXPECT_NE(access(outcome.result().c_str(), F_OK), 0);
  EXPECT_NE(access(outcome.result().substr(0, outcome.result().rfind('/')).c_str(), F_OK), 0);
}

TEST_F(CommandTest, LargePayloadAndResultDoNotBlockEachOther) {
  const std::string payload(900'000, 'x');
  EXPECT_EQ(Run(Shell("cat"), payload).result(), payload);
}

TEST_F(CommandTest, PayloadInAFile) {
  CommandOptions options = Shell("cat \"$PENSTOCK_PAYLOAD_FILE\"");
  options.payload_in_file = true;
  EXPECT_EQ(Run(options, "from a file").result(), "from a file");
}

TEST_F(CommandTest, StandardErrorIsLogAndProgress) {
  Run(Shell("echo one >&2; echo 'penstock-progress: 40 almost' >&2; printf two >&2"));
  EXPECT_THAT(recorder_->log, ElementsAre("one", "two"));
  ASSERT_EQ(recorder_->progress.size(), 1u);
  EXPECT_EQ(recorder_->progress[0].first, 40);
  EXPECT_EQ(recorder_->progress[0].second, "almost");
}

TEST_F(CommandTest, ExitCodeDecides) {
  Outcome failed = Run(Shell("echo 'no disk' >&2; exit 3"));
  EXPECT_EQ(failed.kind(), Outcome::Kind::kRetry);
  EXPECT_EQ(failed.error().type, "exit 3");
  EXPECT_EQ(failed.error().message, "no disk");
  EXPECT_EQ(failed.error().detail, "") << "there is no more to say";
}

TEST_F(CommandTest, DetailIsWhatCameBeforeTheMessage) {
  const Outcome failed = Run(
      Shell("echo one >&2; echo 'penstock-progress: 40 half' >&2; echo two >&2; echo 'penstock-retry-after: 1s' >&2;"
            "printf 'no disk' >&2; exit 3"));
  EXPECT_EQ(failed.error().message, "no disk");
  EXPECT_EQ(failed.error().detail, "one\ntwo\n") << "neither the message again, nor what is for the daemon";
  recorder_ = std::make_shared<Recorder>();
  const Outcome long_story = Run(Shell("seq 10000 >&2; exit 3"));
  EXPECT_EQ(long_story.error().message, "10000");
  EXPECT_EQ(long_story.error().detail.size(), 4u << 10);
  EXPECT_THAT(long_story.error().detail, EndsWith("\n9998\n9999\n"));
}

TEST_F(CommandTest, RejectExitCodeRejects) { EXPECT_EQ(Run(Shell("exit 65")).kind(), Outcome::Kind::kReject); }

TEST_F(CommandTest, CrashIsAFailedAttempt) {
  Outcome outcome = Run(Shell("kill -SEGV $$"));
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kRetry);
  EXPECT_EQ(outcome.error().type, "signal SEGV");
}

TEST_F(CommandTest, MissingProgramSaysSo) {
  CommandOptions options;
  options.command = {"/no/such/program"};
  Outcome outcome = Run(options);
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kRetry);
  EXPECT_EQ(outcome.error().message, "cannot run /no/such/program: No such file or directory");
}

TEST_F(CommandTest, CancelEndsTheWholeProcessGroup) {
  // The shell and its child ignore SIGTERM: it takes the SIGKILL to the group.
  CommandOptions options = Shell("trap '' TERM; " + Grandchild("while :; do sleep 1; done") + " & wait");
  options.kill_grace = absl::Milliseconds(50);
  Submit(options);
  recorder_->ready.get_future().wait();
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kCancelled);
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kCancelled);
  ExpectGrandchildEnds();
}

TEST_F(CommandTest, TimeoutEndsTheWholeProcessGroup) {
  // The shell ends at SIGTERM; its child ignores it and keeps the pipe of standard error open.
  CommandOptions options = Shell(Grandchild("exec sleep 1000") + " & wait");
  options.kill_grace = absl::Milliseconds(10);
  Submit(options);
  recorder_->ready.get_future().wait();
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kTimeout);
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kCancelled);
  ExpectGrandchildEnds();
}

TEST_F(CommandTest, WhatACommandLeavesRunningEndsWithIt) {
  Submit(Shell(Grandchild("exec sleep 1000") + " & while ! [ -e " + pid_file() + " ]; do sleep 0.01; done"));
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kDone);
  ExpectGrandchildEnds();
}

// The runtime waits for a second only: then nobody is left to send the SIGKILL.
TEST_F(CommandTest, EndOfTheWorkerDoesNotWaitForTheKillGrace) {
  CommandOptions options = Shell("trap '' TERM; " + Grandchild("exec sleep 1000") + " & wait");
  options.kill_grace = absl::Minutes(10);
  Submit(options);
  recorder_->ready.get_future().wait();
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kShutdown);
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kRelease);
  ExpectGrandchildEnds();
}

// Of a cancelled run, or one that was given up, the worker's end is not told.
TEST_F(CommandTest, EndOfTheWorkerEndsWhatWasToldToEndBefore) {
  CommandOptions options = Shell("trap '' TERM; " + Grandchild("exec sleep 1000") + " & wait");
  options.kill_grace = absl::Minutes(10);
  Submit(options);
  recorder_->ready.get_future().wait();
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kCancelled);
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kShutdown);
  KillRunningGroups();
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kCancelled);
  ExpectGrandchildEnds();
}

TEST_F(CommandTest, CpuTimeThatIsUsedUpIsNamed) {
  CommandOptions options = Shell("echo begun >&2; while :; do :; done");
  options.cpu_seconds_max = 1;
  const Outcome outcome = Run(options);
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kRetry);
  EXPECT_EQ(outcome.error().type, "signal XCPU");
  EXPECT_EQ(outcome.error().message, "/bin/sh used more than its cpu_seconds_max of 1 s of CPU time");
  EXPECT_EQ(outcome.error().detail, "begun\n");
}

TEST_F(CommandTest, DeadlineIsToldInUnixSeconds) {
  EXPECT_EQ(Run(Shell("printf %s ${PENSTOCK_DEADLINE-none}")).result(), "none");
  recorder_ = std::make_shared<Recorder>();
  run_timeout_ = absl::Hours(1);
  const int64_t before = absl::ToUnixSeconds(absl::Now() + run_timeout_);
  const int64_t deadline = std::stoll(Run(Shell("printf %s $PENSTOCK_DEADLINE")).result());
  EXPECT_GE(deadline, before);
  EXPECT_LE(deadline, absl::ToUnixSeconds(absl::Now() + run_timeout_));
}

TEST_F(CommandTest, MissingDirectoryIsNamed) {
  CommandOptions options = Shell("true");
  options.directory = "/nonexistent/folder";
  const Outcome outcome = Run(options);
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kRetry);
  EXPECT_THAT(outcome.error().message, StartsWith("cannot enter the directory /nonexistent/folder: No such file"));
}

TEST_F(CommandTest, MemoryAndCpuTimeAreLimited) {
  CommandOptions options = Shell("ulimit -v; ulimit -t");
  options.memory_max = 1 << 30;
  options.cpu_seconds_max = 7;
  EXPECT_EQ(Run(options).result(), "1048576\n7\n");
}

TEST_F(CommandTest, TooLargeResultIsRejected) {
  CommandOptions options = Shell("head -c 5000 /dev/zero");
  options.result_max = 1'000;
  Outcome outcome = Run(options);
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kReject);
  EXPECT_THAT(outcome.error().message, StartsWith("the result has more than 1000 bytes"));
}

TEST_F(CommandTest, EnvironmentIsControlled) {
  setenv("SECRET_OF_THE_DAEMON", "x", 1);
  CommandOptions options = Shell("env");
  options.environment = {{"MINE", "yes"}};
  const std::string result = Run(options).result();
  EXPECT_THAT(result, HasSubstr("MINE=yes"));
  EXPECT_THAT(result, Not(HasSubstr("SECRET_OF_THE_DAEMON")));
}

TEST_F(CommandTest, OpenFilesAreLimitedAndNoneAreInherited) {
  CommandOptions options = Shell("ulimit -n; ls /proc/self/fd | wc -l");
  options.open_files_max = 64;
  EXPECT_EQ(Run(options).result(), "64\n4\n");  // 0, 1, 2 and ls's own
}

}  // namespace
}  // namespace penstock
