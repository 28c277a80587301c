#include "client/cli/output.h"

#include <sstream>

#include "gtest/gtest.h"
#include "penstock/v1/task.pb.h"

namespace penstock::cli {
namespace {

TEST(JsonTest, HasEveryFieldUnderItsNameInTheApi) {
  v1::UniqueKey key;
  key.set_key("a\"b");
  EXPECT_EQ(ToJson(key, false),
            R"({"key":"a\"b","scope":"UNIQUE_SCOPE_UNSPECIFIED","conflict":"UNIQUE_CONFLICT_UNSPECIFIED"})");
  v1::LogLine line;
  line.mutable_time()->set_seconds(1'800'000'000);
  EXPECT_EQ(ToJson(line, true), "{\n  \"attempt\": 0,\n  \"text\": \"\",\n  \"time\": \"2027-01-15T08:00:00Z\"\n}\n");
}

TEST(YamlTest, QuotesWhatWouldNotBeText) {
  v1::TaskSpec spec;
  spec.set_queue("yes");
  spec.set_type("mail.send");
  spec.set_content_type("12");
  (*spec.mutable_headers())["k: 1"] = "a\nb";
  spec.add_tags("-x");
  spec.set_priority(3);
  EXPECT_EQ(ToYaml(spec),
            "queue: \"yes\"\n"
            "type: mail.send\n"
            "payload: \"\"\n"
            "content_type: \"12\"\n"
            "headers:\n"
            "  \"k: 1\": \"a\\nb\"\n"
            "tags:\n"
            "  - \"-x\"\n"
            "key: \"\"\ngroup: \"\"\nworker_labels: {}\n"
            "priority: 3\n");
}

TEST(YamlTest, NumbersStayNumbersForReadersOfYaml11) {
  v1::RetryPolicy policy;
  policy.set_multiplier(1e-5);
  policy.set_jitter(2.5e-7);
  EXPECT_EQ(ToYaml(policy), "max_attempts: 0\nmultiplier: 1.0e-05\nbackoff: BACKOFF_UNSPECIFIED\njitter: 2.5e-07\n");
}

class PrintObjectTest : public ::testing::Test {
 protected:
  std::string Print(Format format) {
    std::istringstream in;
    std::ostringstream out, err;
    Console console{in, out, err};
    CommandContext context(console);
    context.globals.format = format;
    status_ = PrintObject(context, R"({"tasks": 2, "seconds": {"p50": 0.5}, "dir": "/tmp"})", "", [] { return "2\n"; });
    return out.str();
  }

  absl::Status status_;
};

TEST_F(PrintObjectTest, WhatIsNoMessageIsPrintedInEveryFormat) {
  EXPECT_EQ(Print(Format::kTable), "2\n");
  EXPECT_EQ(Print(Format::kJson),
            "{\n  \"tasks\": 2,\n  \"seconds\": {\n    \"p50\": 0.5\n  },\n  \"dir\": \"/tmp\"\n}\n");
  EXPECT_EQ(Print(Format::kJsonl), "{\"tasks\":2,\"seconds\":{\"p50\":0.5},\"dir\":\"/tmp\"}\n");
  EXPECT_EQ(Print(Format::kYaml), "tasks: 2\nseconds:\n  p50: 0.5\ndir: \"/tmp\"\n");
  EXPECT_TRUE(status_.ok());
  EXPECT_EQ(Print(Format::kName), "");
  EXPECT_TRUE(absl::IsInvalidArgument(status_));
}

TEST(WordsTest, TimesAndRatesAreShort) {
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  EXPECT_EQ(Relative(now - absl::Seconds(125), now), "2m 5s ago");
  EXPECT_EQ(Relative(now + absl::Hours(3), now), "in 3h");
  EXPECT_EQ(Relative(now - absl::Milliseconds(20), now), "now");
  EXPECT_EQ(Relative(absl::UnixEpoch(), now), "-");
  EXPECT_EQ(FormatRate(0), "0");
  EXPECT_EQ(FormatRate(0.25), "0.2");
  EXPECT_EQ(FormatRate(9.96), "10");
  EXPECT_EQ(FormatRate(12345.6), "12,346");
  EXPECT_EQ(CountOf(1, "task"), "1 task");
  EXPECT_EQ(CountOf(0, "task"), "0 tasks");
  EXPECT_EQ(Word("DEAD_REASON_ATTEMPTS_USED_UP", "DEAD_REASON_"), "attempts used up");
}

}  // namespace
}  // namespace penstock::cli
