#ifndef PENSTOCK_TESTS_UNIT_CLI_CLI_FIXTURE_H_
#define PENSTOCK_TESTS_UNIT_CLI_CLI_FIXTURE_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_broker.h"

namespace penstock::cli {

// What a run of `penstock` left behind.
struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

// Runs commands in this process against a FakeBroker with two queues, two workers and a task in every interesting
// state. The clock stands still; addresses of the fake are shown as localhost:7420.
class CliFixture : public ::testing::Test {
 protected:
  CliFixture();

  Ran Run(std::vector<std::string> arguments) { return RunAt(broker.address(), std::move(arguments)); }
  Ran RunAt(const std::string& address, std::vector<std::string> arguments);
  std::vector<std::string> Calls() const { return broker.Calls(); }

  testing::FakeBroker broker;
  ManualClock clock;
  const Clock* console_clock = &clock;
  std::string input;           // what stands in standard input
  bool input_is_file = false;  // its size is known
  bool is_terminal = false;    // all three streams
  int columns = 100;           // of the terminal
};

// Compares with tests/unit/cli/testdata/<name>, or writes it when PENSTOCK_REWRITE_GOLDEN is set.
void ExpectGolden(const std::string& name, const std::string& text);

inline constexpr char kCompleted[] = "0000000004000";
inline constexpr char kDead[] = "0000000004001";
inline constexpr char kRunning[] = "0000000004002";
inline constexpr char kScheduled[] = "0000000004003";
inline constexpr char kCancelled[] = "0000000004004";

}  // namespace penstock::cli

#endif  // PENSTOCK_TESTS_UNIT_CLI_CLI_FIXTURE_H_
