// The program on a terminal of its own: what only a real one shows.

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "tests/support/project_paths.h"
#include "tests/unit/cli/cli_fixture.h"

namespace penstock::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l";
constexpr char kLeave[] = "\x1b[?25h\x1b[?1049l";

const std::string kProgram = BuildPath("bin/penstock");

// A program on a pseudo terminal of 100 x 30. It is killed, and the test fails, if it is not done long after it should
// be: a test never waits for ever.
class OnTerminal {
 public:
  explicit OnTerminal(std::vector<std::string> command) {
    winsize size{30, 100, 0, 0};
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    pid_ = forkpty(&terminal_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      execv(arguments[0], arguments.data());
      _exit(127);
    }
  }
  ~OnTerminal() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(terminal_);
  }

  // Reads until `text` was seen since the last call; false if the program ended before.
  bool WaitFor(const std::string& text) {
    while (output_.find(text, seen_) == std::string::npos) {
      if (!Read(text)) return false;
    }
    seen_ = output_.find(text, seen_) + text.size();
    return true;
  }
  void Type(char key) { ASSERT_EQ(write(terminal_, &key, 1), 1); }
  void Resize(unsigned short rows, unsigned short columns) {
    winsize size{rows, columns, 0, 0};
    ioctl(terminal_, TIOCSWINSZ, &size);
  }
  void Signal(int number) { kill(pid_, number); }
  // Reads to the end; the exit code, or 128 + the signal's number.
  int Wait() {
    while (Read("the end")) {
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  const std::string& output() const { return output_; }

 private:
  bool Read(const std::string& awaited) {
    pollfd readable{terminal_, POLLIN, 0};
    const absl::Duration left = std::max(give_up_ - absl::Now(), absl::ZeroDuration());
    if (poll(&readable, 1, static_cast<int>(absl::ToInt64Milliseconds(left))) == 0) {
      ADD_FAILURE() << "gave up waiting for " << awaited << "; the program wrote:\n" << output_;
      kill(pid_, SIGKILL);
      return false;
    }
    char buffer[4096];
    const ssize_t size = read(terminal_, buffer, sizeof(buffer));
    if (size <= 0) return false;
    output_.append(buffer, static_cast<size_t>(size));
    return true;
  }

  const absl::Time give_up_ = absl::Now() + absl::Minutes(1);
  int terminal_ = -1;
  pid_t pid_ = -1;
  std::string output_;
  size_t seen_ = 0;
};

class TopTest : public CliFixture {
 protected:
  std::vector<std::string> Command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), kProgram);
    arguments.push_back("--endpoint=" + broker.address());
    return arguments;
  }
};

TEST_F(TopTest, ShowsTheScreenUntilQ) {
  OnTerminal top(Command({"top", "--color", "never", "--every", "100ms"}));
  ASSERT_TRUE(top.WaitFor("reporter@host8"));
  ASSERT_TRUE(top.WaitFor("q quit"));
  // Again by itself.
  ASSERT_TRUE(top.WaitFor("reporter@host8"));
  top.Type('q');
  EXPECT_EQ(top.Wait(), 0);
  EXPECT_THAT(top.output(), StartsWith(kEnter));
  EXPECT_THAT(top.output(), EndsWith(kLeave));
}

TEST_F(TopTest, GivesTheTerminalBackOnSignals) {
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    OnTerminal top(Command({"top", "--color=never"}));
    ASSERT_TRUE(top.WaitFor("q quit"));
    top.Signal(number);
    EXPECT_EQ(top.Wait(), 0) << number;
    EXPECT_THAT(top.output(), EndsWith(kLeave)) << number;
  }
}

TEST_F(TopTest, KeysChangeTheOrder) {
  OnTerminal top(Command({"top", "--color=never", "--every=1h"}));
  ASSERT_TRUE(top.WaitFor("q quit"));
  const size_t mail_first = top.output().find("  mail ");
  EXPECT_LT(mail_first, top.output().find("  reports "));
  const size_t before = top.output().size();
  top.Type('d');
  ASSERT_TRUE(top.WaitFor("q quit"));
  EXPECT_LT(top.output().find("  reports ", before), top.output().find("  mail ", before));
  top.Type('q');
  EXPECT_EQ(top.Wait(), 0);
}

TEST_F(TopTest, FitsATerminalThatIsMadeSmaller) {
  for (int i = 0; i < 100; ++i) {
    v1::Queue* queue = broker.status.add_queues();
    queue->set_name("queue-" + std::to_string(i));
  }
  broker.status.set_queue_count(102);
  OnTerminal top(Command({"top", "--color=never", "--every=1h"}));
  ASSERT_TRUE(top.WaitFor("q quit"));
  const size_t before = top.output().size();
  top.Resize(20, 60);
  ASSERT_TRUE(top.WaitFor("q quit"));
  std::string screen = top.output().substr(before);
  EXPECT_EQ(std::count(screen.begin(), screen.end(), '\n'), 19);
  EXPECT_THAT(screen, HasSubstr("more: penstock queue list"));
  EXPECT_THAT(screen, HasSubstr("WORKERS"));
  top.Type('q');
  EXPECT_EQ(top.Wait(), 0);
}

TEST_F(TopTest, ABrokerThatDoesNotAnswerIsSaidAboveTheLastScreen) {
  OnTerminal top(Command({"top", "--color=never", "--every=100ms"}));
  ASSERT_TRUE(top.WaitFor("reporter@host8"));
  broker.Fail("GetStatus", absl::UnavailableError("stopping"));
  ASSERT_TRUE(top.WaitFor("NO ANSWER  the broker at"));
  ASSERT_TRUE(top.WaitFor("reporter@host8"));
  broker.Fail("GetStatus", absl::OkStatus());
  ASSERT_TRUE(top.WaitFor("\x1b[Hhealthy"));
  top.Type('q');
  EXPECT_EQ(top.Wait(), 0);
}

TEST_F(TopTest, NeedsATerminal) {
  const Ran ran = Run({"top"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.err,
            "penstock: this needs a terminal; without one: penstock status, or again and again: penstock status "
            "--watch\n");
}

TEST_F(TopTest, StatusIsWatchedUntilItIsInterrupted) {
  OnTerminal watch(Command({"status", "--watch", "10ms", "-o", "jsonl"}));
  // The end of the first line and the beginning of the second.
  ASSERT_TRUE(watch.WaitFor("}\r\n{"));
  EXPECT_THAT(watch.output(), HasSubstr("\"epoch\":\"7\""));
  watch.Signal(SIGINT);
  EXPECT_EQ(watch.Wait(), 128 + SIGINT);
}

}  // namespace
}  // namespace penstock::cli
