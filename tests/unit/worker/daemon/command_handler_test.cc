#include "worker/daemon/command_handler.h"

#include <signal.h>

#include <future>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/executor.h"

namespace penstock {
namespace {

using ::testing::ElementsAre;
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
    void OnCheckpoint(TaskId, uint64_t, std::string) override {}
    void OnProgress(TaskId, uint64_t, double percent, std::string text) override {
      progress.emplace_back(percent, std::move(text));
    }
    void OnLog(TaskId, uint64_t, std::string line) override {
      log.push_back(line);
      if (line == "ready") ready.set_value();
    }
    std::promise<Outcome> finished;
    std::promise<void> ready;
    std::vector<std::pair<double, std::string>> progress;
    std::vector<std::string> log;
  };

  static CommandOptions Shell(const std::string& script) {
    CommandOptions options;
    options.command = {"/bin/sh", "-c", script};
    return options;
  }
  void Submit(CommandOptions options, std::string payload = "") {
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
    task.payload = std::move(payload);
    std::vector<TaskDelivery> tasks;
    tasks.push_back(std::move(task));
    executor_->Submit(std::move(tasks));
  }
  Outcome Run(CommandOptions options, std::string payload = "") {
    Submit(std::move(options), std::move(payload));
    return recorder_->finished.get_future().get();
  }

  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
  std::unique_ptr<Executor> executor_;
};

TEST_F(CommandTest, PayloadInResultOut) {
  Outcome outcome =
      Run(Shell("cat; printf ' %s %s %s' $PENSTOCK_TYPE $PENSTOCK_ATTEMPT $PENSTOCK_FENCING_TOKEN"), "hello");
  EXPECT_EQ(outcome.kind(), Outcome::Kind::kDone);
  EXPECT_EQ(outcome.result(), "hello t 2 99");
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
  // The shell's child ignores SIGTERM: it takes the SIGKILL to the group.
  CommandOptions options = Shell("sh -c 'trap \"\" TERM; echo ready >&2; while :; do sleep 1; done'");
  options.kill_grace = absl::Milliseconds(50);
  Submit(options);
  recorder_->ready.get_future().wait();
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kCancelled);
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kCancelled);
}

TEST_F(CommandTest, TimeoutEndsTheWholeProcessGroup) {
  // The grandchild ignores SIGTERM and keeps the pipe of standard error open.
  CommandOptions options = Shell("sh -c 'trap \"\" TERM; echo ready >&2; exec sleep 1000' & wait");
  options.kill_grace = absl::Milliseconds(10);
  Submit(options);
  recorder_->ready.get_future().wait();
  executor_->Cancel(TaskId(0, 1, 7), 99, CancelReason::kTimeout);
  EXPECT_EQ(recorder_->finished.get_future().get().kind(), Outcome::Kind::kCancelled);
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
