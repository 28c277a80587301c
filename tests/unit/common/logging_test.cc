#include "common/logging.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class LoggingTest : public testing::Test {
 protected:
  ~LoggingTest() override {
    EXPECT_TRUE(SetUpLogging({}).ok());
    std::remove(path_.c_str());
  }
  // Sets up logging to a file of the test's own.
  absl::Status SetUpTo(std::string format, std::string level) {
    return SetUpLogging({.level = std::move(level), .format = std::move(format), .file = path_});
  }
  std::string Written() const {
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }

  const std::string path_ = testing::TempDir() + "/penstock_logging_" + std::to_string(getpid()) + ".log";
};

TEST_F(LoggingTest, TextCannotForgeALine) {
  ASSERT_TRUE(SetUpTo("text", "info").ok());
  LogFor("engine").info("task failed error={}", "a\n2026-01-01T00:00:00.000Z info engine: forged\x1b[2J");
  const std::string written = Written();
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 1);
  EXPECT_THAT(written, HasSubstr("engine: task failed error=a\\x0a2026"));
  EXPECT_THAT(written, HasSubstr("\\x1b[2J"));
}

TEST_F(LoggingTest, JsonEscapesQuotesAndControls) {
  ASSERT_TRUE(SetUpTo("json", "info").ok());
  LogFor("engine").info("a \"quoted\" \\ text\nand\tmore");
  EXPECT_THAT(Written(), EndsWith(R"("component":"engine","message":"a \"quoted\" \\ text\u000aand\u0009more"})"
                                  "\n"));
}

TEST_F(LoggingTest, ComponentHasItsOwnLevel) {
  ASSERT_TRUE(SetUpTo("text", "warn,engine=debug").ok());
  LogFor("engine").debug("shown");
  LogFor("rpc").info("hidden");
  LogFor("engine").flush();
  EXPECT_THAT(Written(), HasSubstr("shown"));
  EXPECT_THAT(Written(), Not(HasSubstr("hidden")));
}

TEST_F(LoggingTest, WrongLevelAndFormatAreNamed) {
  EXPECT_THAT(std::string(SetUpTo("xml", "info").message()), HasSubstr("'xml' is neither text nor json"));
  EXPECT_THAT(std::string(SetUpTo("text", "loud").message()), HasSubstr("'loud' is none of trace"));
  EXPECT_TRUE(ValidateLogLevel("info,engine=debug").ok());
  EXPECT_FALSE(ValidateLogLevel("info,engine=loud").ok());
}

}  // namespace
}  // namespace penstock
