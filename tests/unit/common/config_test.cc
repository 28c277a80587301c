#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "common/config/loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// A program with a few options, run with words, variables and a file.
class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    set_.Bool({.path = "verbose", .what = "Says more.", .letter = 'v'}, &verbose_);
    set_.Size({.path = "limits.payload", .what = "Largest payload."}, &payload_, 1, 16 << 20);
    set_.Size({.path = "limits.message", .what = "Largest message."}, &message_, 1, 16 << 20);
    set_.Duration({.path = "grace_time", .what = "How long."}, &grace_, absl::ZeroDuration(), absl::Hours(1));
    set_.List({.path = "queues", .what = "Queues."}, &queues_);
  }
  ~ConfigTest() override { std::remove(file_.c_str()); }

  void WriteFile(std::string_view text) { std::ofstream(file_) << text; }

  std::optional<int> Run(std::vector<const char*> words, const Environment& environment = {}) {
    words.insert(words.begin(), "program");
    out_.str("");
    err_.str("");
    return LoadOptions(
        {.name = "program", .version = "1.2.3", .what = "Does it.", .examples = "  program -v"},
        static_cast<int>(words.size()), words.data(), environment, [this] { return Validate(); }, &set_, out_, err_);
  }

  ConfigErrors Validate() const {
    ConfigErrors errors;
    if (message_ < payload_) errors.Add({"", "limits.message", "smaller than limits.payload"});
    return errors;
  }

  const std::string file_ = testing::TempDir() + "/penstock_config_" + std::to_string(getpid()) + ".yaml";
  bool verbose_ = false;
  uint64_t payload_ = 1'000;
  uint64_t message_ = 2'000;
  absl::Duration grace_ = absl::Seconds(1);
  std::vector<std::string> queues_;
  OptionSet set_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(ConfigTest, RunsWithoutAnyConfiguration) {
  EXPECT_EQ(Run({}), std::nullopt);
  EXPECT_EQ(payload_, 1'000u);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(ConfigTest, FlagWinsOverEnvironmentOverFileOverDefault) {
  WriteFile("limits:\n  payload: 10\n  message: 100\ngrace_time: 2s\n");
  EXPECT_EQ(Run({"--config", file_.c_str(), "--limits.payload=30"},
                {{"PENSTOCK_LIMITS__PAYLOAD", "20"}, {"PENSTOCK_LIMITS__MESSAGE", "200"}}),
            std::nullopt)
      << err_.str();
  EXPECT_EQ(payload_, 30u);
  EXPECT_EQ(message_, 200u);
  EXPECT_EQ(grace_, absl::Seconds(2));
  EXPECT_EQ(set_.Find("limits.payload")->origin().where, "--limits.payload");
  EXPECT_EQ(set_.Find("limits.message")->origin().where, "PENSTOCK_LIMITS__MESSAGE");
  EXPECT_EQ(set_.Find("grace_time")->origin().where, file_ + ":4");
  EXPECT_EQ(set_.Find("verbose")->origin().source, OptionSource::kDefault);
}

TEST_F(ConfigTest, FileIsFoundByVariable) {
  WriteFile("verbose: true\n");
  EXPECT_EQ(Run({}, {{"PENSTOCK_CONFIG", file_}}), std::nullopt);
  EXPECT_TRUE(verbose_);
}

TEST_F(ConfigTest, FlagsOfEveryForm) {
  EXPECT_EQ(Run({"-v", "--grace-time", "5s", "--queues", "a,b", "--queues=c"}), std::nullopt) << err_.str();
  EXPECT_TRUE(verbose_);
  EXPECT_EQ(grace_, absl::Seconds(5));
  EXPECT_THAT(queues_, ElementsAre("a", "b", "c"));
  EXPECT_EQ(Run({"--verbose=false", "--grace-time=1s", "--grace-time=7s"}), std::nullopt) << err_.str();
  EXPECT_FALSE(verbose_);
  EXPECT_EQ(grace_, absl::Seconds(7));
}

TEST_F(ConfigTest, EveryErrorOfEverySourceIsNamed) {
  WriteFile("limits:\n  paylod: 10\n  message: -1\n");
  EXPECT_EQ(Run({"-c", file_.c_str(), "--grace-time=soon", "--verbose=perhaps", "--limits.masage", "5", "extra"},
                {{"PENSTOCK_LIMITS__PAYLOAD", "much"}}),
            kExitConfig);
  EXPECT_EQ(err_.str(),
            "program: --limits.masage: no such flag; did you mean --limits.message?\n"
            "program: unexpected argument 'extra'\n"
            "program: " +
                file_ +
                ":2: limits.paylod: no such option; did you mean limits.payload?\n"
                "program: " +
                file_ +
                ":3: limits.message: '-1' is no size; write for instance 4096, 64KiB, 1MiB or 2GiB\n"
                "program: PENSTOCK_LIMITS__PAYLOAD: limits.payload: 'much' is no size; write for instance 4096, 64KiB, "
                "1MiB or 2GiB\n"
                "program: --verbose: 'perhaps' is neither true nor false\n"
                "program: --grace-time: 'soon' is no duration; write for instance 250ms, 30s, 5m, 1h30m or 7d\n");
}

TEST_F(ConfigTest, ContradictionNamesWhereTheValueStands) {
  WriteFile("limits:\n  message: 10\n");
  EXPECT_EQ(Run({"--check-config", "-c", file_.c_str()}), kExitConfig);
  EXPECT_EQ(err_.str(), "program: " + file_ + ":2: limits.message: smaller than limits.payload\n");
}

TEST_F(ConfigTest, ContradictionsAreNamedBesideErrorsThatTheyHaveNothingToDoWith) {
  WriteFile("limits:\n  message: 10\ngrace_time: soon\n");
  EXPECT_EQ(Run({"--check-config", "-c", file_.c_str()}), kExitConfig);
  EXPECT_THAT(err_.str(), StartsWith("program: " + file_ + ":3: grace_time: 'soon' is no duration"));
  EXPECT_THAT(err_.str(), HasSubstr("\nprogram: " + file_ + ":2: limits.message: smaller than limits.payload\n"));
  // The payload that was meant is not known: perhaps they do not contradict each other.
  WriteFile("limits:\n  message: 10\n  payload: much\n");
  EXPECT_EQ(Run({"--check-config", "-c", file_.c_str()}), kExitConfig);
  EXPECT_THAT(err_.str(), testing::Not(HasSubstr("smaller than")));
  WriteFile("limits:\n  message: 10\n  paylaod: 5\n");
  EXPECT_EQ(Run({"--check-config", "-c", file_.c_str()}), kExitConfig);
  EXPECT_THAT(err_.str(), HasSubstr("did you mean limits.payload?"));
  EXPECT_THAT(err_.str(), testing::Not(HasSubstr("smaller than")));
  // Nothing that a file which is not read, or an unknown flag, was to say is known.
  EXPECT_EQ(Run({"--check-config", "--limits.message=10", "--config=/nonexistent.yaml"}), kExitConfig);
  EXPECT_THAT(err_.str(), testing::Not(HasSubstr("smaller than")));
  EXPECT_EQ(Run({"--check-config", "--limits.message=10", "--limits.pay=5"}), kExitConfig);
  EXPECT_THAT(err_.str(), testing::Not(HasSubstr("smaller than")));
}

TEST_F(ConfigTest, MissingFileAndMissingValueAreErrors) {
  EXPECT_EQ(Run({"--config=/nonexistent.yaml"}), kExitConfig);
  EXPECT_THAT(err_.str(), HasSubstr("/nonexistent.yaml: No such file"));
  EXPECT_EQ(Run({"--grace-time"}), kExitConfig);
  EXPECT_THAT(err_.str(), HasSubstr("--grace-time"));
}

TEST_F(ConfigTest, CheckConfigSaysThatAllIsWell) {
  WriteFile("verbose: true\n");
  EXPECT_EQ(Run({"--check-config", "-c", file_.c_str()}), 0);
  EXPECT_THAT(out_.str(), StartsWith("The configuration is valid: "));
  EXPECT_EQ(Run({"--check-config"}), 0);
}

TEST_F(ConfigTest, PrintConfigShowsOrigins) {
  EXPECT_EQ(Run({"--print-config", "-v"}, {{"PENSTOCK_GRACE_TIME", "90s"}}), 0);
  EXPECT_EQ(out_.str(),
            "verbose: true  # --verbose\n"
            "limits:\n"
            "  payload: 1000 B  # default\n"
            "  message: 2000 B  # default\n"
            "grace_time: 1m30s  # PENSTOCK_GRACE_TIME\n"
            "queues: []  # default\n");
}

TEST_F(ConfigTest, HelpAndVersionNeedNoValidConfiguration) {
  EXPECT_EQ(Run({"--version", "--nonsense"}), 0);
  EXPECT_EQ(out_.str(), "program 1.2.3\n");
  EXPECT_EQ(Run({"--help", "--grace-time=soon"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("-v,--verbose"));
  EXPECT_THAT(out_.str(), HasSubstr("--limits.payload size"));
  EXPECT_THAT(out_.str(), HasSubstr("Largest payload. Default: 1000 B; valid: 1 B to 16 MiB."));
  EXPECT_THAT(out_.str(), HasSubstr("Examples:\n  program -v"));
}

TEST_F(ConfigTest, MisspeltVariableIsWarnedOf) {
  EXPECT_EQ(Run({}, {{"PENSTOCK_LIMITS__PAYLOADS", "5"}}), std::nullopt);
  EXPECT_EQ(err_.str(),
            "program: warning: PENSTOCK_LIMITS__PAYLOADS is no option; did you mean PENSTOCK_LIMITS__PAYLOAD?\n");
}

TEST(ReadEnvironmentTest, HoldsTheProcessesVariables) {
  ASSERT_EQ(setenv("PENSTOCK_TEST_VARIABLE", "a=b", 1), 0);
  EXPECT_EQ(ReadEnvironment().at("PENSTOCK_TEST_VARIABLE"), "a=b");
  unsetenv("PENSTOCK_TEST_VARIABLE");
}

}  // namespace
}  // namespace penstock
