#include "common/config/yaml_node.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

YamlNode Parse(std::string_view text) {
  auto node = ParseYaml(text, "t.yaml");
  EXPECT_TRUE(node.ok()) << node.status();
  return node.ok() ? *std::move(node) : YamlNode();
}

std::string ErrorOf(std::string_view text) {
  auto node = ParseYaml(text, "t.yaml");
  return node.ok() ? "no error" : std::string(node.status().message());
}

TEST(YamlNodeTest, EveryNodeKnowsItsLine) {
  const YamlNode root = Parse("# top\nhandlers:\n  - type: a\n    run: [x, \"y z\"]\n  - type: b\nempty:\n");
  ASSERT_EQ(root.kind, YamlNode::Kind::kMap);
  const YamlNode* handlers = root.Find("handlers");
  ASSERT_NE(handlers, nullptr);
  ASSERT_EQ(handlers->items.size(), 2u);
  EXPECT_EQ(handlers->items[1].Find("type")->text, "b");
  EXPECT_EQ(handlers->items[1].Find("type")->Where(), "t.yaml:5");
  EXPECT_EQ(handlers->items[0].Find("run")->items[1].text, "y z");
  EXPECT_EQ(handlers->items[0].Find("run")->items[1].line, 4);
  EXPECT_EQ(root.Find("empty")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.Find("empty")->line, 6);
  EXPECT_EQ(root.Find("missing"), nullptr);
}

TEST(YamlNodeTest, EmptyTextIsNull) {
  EXPECT_EQ(Parse("").kind, YamlNode::Kind::kNull);
  EXPECT_EQ(Parse("# only a comment\n").kind, YamlNode::Kind::kNull);
}

TEST(YamlNodeTest, ScalarsStayText) {
  const YamlNode root = Parse("a: on\nb: 1.10\nc: 0x10\nd: 'null'\n");
  EXPECT_EQ(root.Find("a")->text, "on");
  EXPECT_EQ(root.Find("b")->text, "1.10");
  EXPECT_EQ(root.Find("c")->text, "0x10");
  EXPECT_EQ(root.Find("d")->text, "null");
}

TEST(YamlNodeTest, WhatIsNotSupportedIsRefusedWithItsLine) {
  EXPECT_EQ(ErrorOf("a: 1\nb: 2\na: 3\n"), "t.yaml:3: 'a' stands here again; it was set in line 1");
  EXPECT_THAT(ErrorOf("a: &x 1\nb: *x\n"), StartsWith("t.yaml:2: aliases are not supported"));
  EXPECT_THAT(ErrorOf("a: !!binary abc\n"), StartsWith("t.yaml:1: tags are not supported"));
  EXPECT_THAT(ErrorOf("a: 1\n---\nb: 2\n"), HasSubstr("a second document starts here"));
  EXPECT_THAT(ErrorOf("[a, b]: 1\n"), StartsWith("t.yaml:1: a key must be a word"));
  EXPECT_THAT(ErrorOf("a: [1, 2\n"), StartsWith("t.yaml:"));
  EXPECT_THAT(ErrorOf("a: 1\n\tb: 2\n"), StartsWith("t.yaml:2: "));
}

TEST(YamlNodeTest, DepthKeysAndBytesAreLimited) {
  EXPECT_THAT(ErrorOf(std::string(kYamlDepthMax + 1, '[') + std::string(kYamlDepthMax + 1, ']')),
              HasSubstr("more than 32 levels"));
  EXPECT_THAT(ErrorOf(std::string(100'000, '[')), StartsWith("t.yaml:1: "));
  std::string keys;
  for (size_t i = 0; i <= kYamlEntriesMax; ++i) keys += "k" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(ErrorOf(keys), HasSubstr("more than 10000 keys"));
  EXPECT_THAT(ErrorOf(std::string(kYamlBytesMax + 1, '#')), HasSubstr("larger than"));
}

TEST(YamlNodeTest, EmittedTextParsesToTheSame) {
  const YamlNode root = Parse(
      "a: {x: \"1: 2\", y: \"\", \"k#\": \"~\"}\nlist:\n- - 1\n  - b\n- c: d\n  e: [f, \" g\"]\n- \"line\\nbreak \\\\ "
      "\\\" \\u00e9\"\n"
      "none: []\nempty: {}\nnothing:\n");
  const std::string emitted = EmitYaml(root, 0);
  const YamlNode again = Parse(emitted);
  EXPECT_EQ(EmitYaml(again, 0), emitted);
  EXPECT_EQ(again.Find("a")->Find("x")->text, "1: 2");
  EXPECT_EQ(again.Find("a")->Find("k#")->text, "~");
  EXPECT_EQ(again.Find("list")->items[0].items[1].text, "b");
  EXPECT_EQ(again.Find("list")->items[1].Find("e")->items[1].text, " g");
  EXPECT_EQ(again.Find("list")->items[2].text, "line\nbreak \\ \" \xc3\xa9");
}

TEST(YamlNodeTest, MissingFileIsNamed) {
  const auto node = ReadYamlFile("/nonexistent/x.yaml");
  EXPECT_EQ(node.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(node.status().message()), HasSubstr("/nonexistent/x.yaml: No such file"));
  EXPECT_THAT(std::string(ReadYamlFile(testing::TempDir()).status().message()), HasSubstr("a folder"));
}

}  // namespace
}  // namespace penstock
