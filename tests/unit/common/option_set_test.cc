#include "common/config/option_set.h"

#include <string>
#include <vector>

#include "common/config/render.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

enum class Mode { kAuto, kOn };

struct Values {
  bool flag = false;
  int32_t count = 10;
  double ratio = 0.5;
  uint64_t size = 1 << 20;
  std::optional<uint64_t> watermark;
  absl::Duration wait = absl::Seconds(30);
  std::string name = "x";
  Mode mode = Mode::kAuto;
  std::string format = "text";
  std::vector<std::string> queues = {"a"};
  YamlNode handlers;
};

void Declare(Values* v, OptionSet* set) {
  set->Section("limits", "What is accepted.");
  set->Bool({.path = "dry_run", .what = "Does nothing."}, &v->flag);
  set->Integer({.path = "limits.count", .what = "How many.", .why = "More is slower.", .limit = true}, &v->count, 1,
               100);
  set->Size({.path = "limits.payload", .what = "Largest payload."}, &v->size, 1 << 10, 16 << 20);
  set->Size({.path = "limits.watermark", .what = "Free space."}, &v->watermark, 0, uint64_t{1} << 40, "auto");
  set->Number({.path = "ratio", .what = "A part."}, &v->ratio, 0, 1);
  set->Duration({.path = "wait", .what = "How long."}, &v->wait, absl::ZeroDuration(), absl::Hours(24));
  set->Text({.path = "name", .what = "A name."}, &v->name);
  set->Choice({.path = "mode", .what = "A mode."}, &v->mode, {{Mode::kAuto, "auto"}, {Mode::kOn, "on"}});
  set->Choice({.path = "format", .what = "A format."}, &v->format, {"text", "json"});
  set->List({.path = "queues", .what = "Queues."}, &v->queues);
  set->Subtree({.path = "handlers", .what = "Handlers."}, &v->handlers);
}

class OptionSetTest : public testing::Test {
 protected:
  OptionSetTest() { Declare(&values_, &set_); }

  // All errors, one a line.
  std::string Read(std::string_view text) {
    const auto root = ParseYaml(text, "t.yaml");
    EXPECT_TRUE(root.ok()) << root.status();
    ConfigErrors errors;
    set_.ReadYaml(*root, "", &errors);
    return errors.ToString();
  }

  Values values_;
  OptionSet set_;
};

TEST_F(OptionSetTest, EveryTypeIsRead) {
  EXPECT_EQ(
      Read("dry_run: yes\nlimits: {count: 5, payload: 64 KiB, watermark: 2GB}\nratio: 0.25\nwait: 1h30m\nname: \"\"\n"
           "mode: on\nformat: json\nqueues: [b, c]\n"),
      "");
  EXPECT_TRUE(values_.flag);
  EXPECT_EQ(values_.count, 5);
  EXPECT_EQ(values_.size, 65'536u);
  EXPECT_EQ(values_.watermark, 2'000'000'000u);
  EXPECT_EQ(values_.ratio, 0.25);
  EXPECT_EQ(values_.wait, absl::Minutes(90));
  EXPECT_EQ(values_.name, "");
  EXPECT_EQ(values_.mode, Mode::kOn);
  EXPECT_EQ(values_.format, "json");
  EXPECT_THAT(values_.queues, ElementsAre("b", "c"));
  EXPECT_EQ(set_.Find("limits.count")->origin().where, "t.yaml:2");
}

TEST_F(OptionSetTest, WrongValuesAreAllNamedWithLineValueAndWhatIsValid) {
  EXPECT_EQ(
      Read(
          "dry_run: maybe\nlimits:\n  count: 101\n  payload: 17 MiB\n  watermark: lots\nratio: 2\nwait: 30\nmode: off\n"
          "name:\nqueues: {a: b}\nformat: [text]\n"),
      "t.yaml:1: dry_run: 'maybe' is neither true nor false\n"
      "t.yaml:3: limits.count: '101' is too large; valid: 1 to 100\n"
      "t.yaml:4: limits.payload: '17 MiB' is too large; valid: 1 KiB to 16 MiB\n"
      "t.yaml:5: limits.watermark: 'lots' is no size; write for instance 4096, 64KiB, 1MiB or 2GiB, or auto\n"
      "t.yaml:6: ratio: '2' is too large; valid: 0 to 1\n"
      "t.yaml:7: wait: '30' is no duration; write for instance 250ms, 30s, 5m, 1h30m or 7d\n"
      "t.yaml:8: mode: 'off' is none of auto, on\n"
      "t.yaml:9: name: has no value; write one (\"\" for an empty text), or delete the line for the default\n"
      "t.yaml:10: queues: a list is expected\n"
      "t.yaml:11: format: one value is expected");
  EXPECT_EQ(values_.count, 10);
}

TEST_F(OptionSetTest, IntegersBeyondAnyTypeAreTooLarge) {
  EXPECT_THAT(Read("limits: {count: 99999999999999999999}\n"), HasSubstr("too large"));
  EXPECT_THAT(Read("limits: {count: -99999999999999999999}\n"), HasSubstr("too small"));
  EXPECT_THAT(Read("limits: {count: 5x}\n"), HasSubstr("'5x' is no whole number"));
}

TEST_F(OptionSetTest, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(Read("limits:\n  paylaod: 1MiB\n"),
            "t.yaml:2: limits.paylaod: no such option; did you mean limits.payload?");
  EXPECT_EQ(Read("limit:\n  count: 1\n"), "t.yaml:1: limit: no such option; did you mean limits?");
  EXPECT_EQ(Read("payload: 1MiB\n"), "t.yaml:1: payload: no such option; did you mean limits.payload?");
  EXPECT_EQ(Read("zzzzzzzzzzzz: 1\n"), "t.yaml:1: zzzzzzzzzzzz: no such option");
  EXPECT_EQ(Read("limits: 5\n"), "t.yaml:1: limits: a section; its options stand below it, indented");
  EXPECT_EQ(Read("limits:\n"), "");
  EXPECT_EQ(Read("- a\n"), "t.yaml:1: options are expected here, each as 'name: value'");
}

TEST_F(OptionSetTest, EntriesOfASubtreeAreReadByASetOfTheirOwn) {
  EXPECT_EQ(Read("handlers:\n  - type: a\n    slots: 3\n  - typo: b\n    slots: 0\n"), "");
  ASSERT_EQ(values_.handlers.items.size(), 2u);
  struct Handler {
    std::string type;
    uint32_t slots = 1;
  };
  ConfigErrors errors;
  std::vector<Handler> handlers(2);
  for (size_t i = 0; i < 2; ++i) {
    OptionSet entry;
    entry.Text({.path = "type", .what = "The type."}, &handlers[i].type);
    entry.Integer({.path = "slots", .what = "Slots."}, &handlers[i].slots, 1, 8);
    entry.ReadYaml(values_.handlers.items[i], "handlers[" + std::to_string(i) + "]", &errors);
  }
  EXPECT_EQ(handlers[0].type, "a");
  EXPECT_EQ(handlers[0].slots, 3u);
  EXPECT_EQ(errors.ToString(),
            "t.yaml:4: handlers[1].typo: no such option; did you mean type?\n"
            "t.yaml:5: handlers[1].slots: '0' is too small; valid: 1 to 8");
}

TEST_F(OptionSetTest, EnvironmentIsRead) {
  ConfigErrors errors;
  std::vector<std::string> warnings;
  set_.ReadEnvironment({{"PENSTOCK_LIMITS__COUNT", "7"},
                        {"PENSTOCK_DRY_RUN", "1"},
                        {"PENSTOCK_QUEUES", "b, c,"},
                        {"PENSTOCK_RATIO", "much"},
                        {"PENSTOCK_LIMITS__PAYLAOD", "1MiB"},
                        {"PENSTOCK_LIMIT__PAYLOAD", "1MiB"},
                        {"PENSTOCK_LIMITS__NOSUCH", "1"},
                        {"PENSTOCK_NOBODYS__BUSINESS", "1"},
                        {"PENSTOCK_PORT", "tcp://10.0.0.1:7420"},
                        {"HOME", "/"}},
                       &errors, &warnings);
  EXPECT_EQ(values_.count, 7);
  EXPECT_TRUE(values_.flag);
  EXPECT_THAT(values_.queues, ElementsAre("b", "c"));
  EXPECT_EQ(errors.ToString(), "PENSTOCK_RATIO: ratio: 'much' is no number; valid: 0 to 1");
  EXPECT_THAT(warnings, ElementsAre("PENSTOCK_LIMITS__NOSUCH is no option",
                                    "PENSTOCK_LIMITS__PAYLAOD is no option; did you mean PENSTOCK_LIMITS__PAYLOAD?",
                                    "PENSTOCK_LIMIT__PAYLOAD is no option; did you mean PENSTOCK_LIMITS__PAYLOAD?"));
  EXPECT_EQ(set_.Find("limits.count")->origin().where, "PENSTOCK_LIMITS__COUNT");
}

TEST_F(OptionSetTest, MetadataIsListed) {
  const Option& count = *set_.Find("limits.count");
  EXPECT_EQ(count.flag(), "--limits.count");
  EXPECT_EQ(count.env(), "PENSTOCK_LIMITS__COUNT");
  EXPECT_EQ(count.valid(), "1 to 100");
  EXPECT_EQ(count.default_text(), "10");
  EXPECT_EQ(count.about().why, "More is slower.");
  EXPECT_TRUE(count.about().limit);
  EXPECT_EQ(set_.Find("dry_run")->flag(), "--dry-run");
  EXPECT_EQ(set_.Find("handlers")->flag(), "");
  EXPECT_EQ(set_.options().size(), 11u);
}

TEST_F(OptionSetTest, EffectiveValuesAreAFileAgain) {
  EXPECT_EQ(Read("limits: {count: 5}\nname: \"a: b\"\nhandlers:\n- type: a\n"), "");
  const std::string text = RenderEffective(set_);
  EXPECT_THAT(
      text, HasSubstr("limits:\n  count: 5  # t.yaml:1\n  payload: 1 MiB  # default\n  watermark: auto  # default\n"));
  EXPECT_THAT(text, HasSubstr("handlers:  # t.yaml:4\n  - type: a\n"));
  Values again;
  OptionSet set;
  Declare(&again, &set);
  ConfigErrors errors;
  set.ReadYaml(*ParseYaml(text, "again"), "", &errors);
  EXPECT_EQ(errors.ToString(), "");
  EXPECT_EQ(again.count, 5);
  EXPECT_EQ(again.name, "a: b");
  EXPECT_EQ(again.handlers.items.size(), 1u);
}

TEST_F(OptionSetTest, CommentedFileNamesEverything) {
  const std::string text = RenderCommented(set_, "Title.");
  EXPECT_THAT(text, HasSubstr("# Title.\n"));
  EXPECT_THAT(
      text,
      HasSubstr("# What is accepted.\nlimits:\n  # How many. More is slower.\n  # Valid: 1 to 100.\n  count: 10\n"));
  EXPECT_THAT(text, HasSubstr("queues: [a]\n"));
}

TEST(OptionSetDeathTest, ContradictingDeclarationsEndTheProcess) {
  OptionSet set;
  std::string value;
  set.Text({.path = "a.b", .what = "One."}, &value);
  EXPECT_DEATH(set.Text({.path = "a.b", .what = "Again."}, &value), "collides with a.b");
  EXPECT_DEATH(set.Text({.path = "a", .what = "A section."}, &value), "section of another option");
  EXPECT_DEATH(set.Text({.path = "a.b.c", .what = "Below."}, &value), "collides with a.b");
  EXPECT_DEATH(set.Text({.path = "A", .what = "Upper."}, &value), "lower case");
}

}  // namespace
}  // namespace penstock
