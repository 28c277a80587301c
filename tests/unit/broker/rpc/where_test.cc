#include "broker/rpc/where.h"

#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

constexpr char kPayload[] = R"({
  "customer": 42, "plan": "pro", "price": 9.5, "big": 18446744073709551615, "small": -9223372036854775808,
  "vip": true, "old": false, "note": null, "tags": ["red", "blue", 7, null, ["deep"]],
  "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}],
  "address": {"city": "Köln", "street name": "Am Dom"}, "empty": {}, "none": [], "text": "a \"b\" c\\d\u0041"
})";

bool Fits(const std::string& text, const std::string& payload = kPayload) {
  const auto where = Where::Parse(text);
  EXPECT_TRUE(where.ok()) << text << ": " << where.status();
  return where.ok() && where->Fits(payload);
}

std::string ErrorOf(const std::string& text) {
  const auto where = Where::Parse(text);
  EXPECT_FALSE(where.ok()) << text;
  return where.ok() ? "" : std::string(where.status().message());
}

TEST(WhereTest, ComparesNumbersExactly) {
  for (const char* yes :
       {"payload.customer == 42", "payload.customer == 42.0", "payload.customer != 43", "payload.customer < 43",
        "payload.customer <= 42", "payload.customer > 41", "payload.customer >= 42", "payload.price == 9.5",
        "payload.price == 95e-1", "payload.big == 18446744073709551615", "payload.big != 18446744073709551614",
        "payload.small == -9223372036854775808", "payload.small < -9223372036854775807", "payload.customer > -1"}) {
    EXPECT_TRUE(Fits(yes)) << yes;
  }
  for (const char* no : {"payload.customer == 41", "payload.customer != 42", "payload.customer < 42",
                         "payload.customer > 42", "payload.big == 18446744073709551616.5e3"}) {
    EXPECT_FALSE(Fits(no)) << no;
  }
}

TEST(WhereTest, ComparesTextsByTheByte) {
  for (const char* yes :
       {"payload.plan == \"pro\"", "payload.plan == 'pro'", "payload.plan != 'free'", "payload.plan < 'q'",
        "payload.plan >= 'pro'", R"(payload.address.city == "Köln")", R"(payload.address.city == "K\u00f6ln")",
        R"(payload.address["street name"] == 'Am Dom')", R"(payload.text == 'a "b" c\\dA')",
        R"(payload.text == "a \"b\" c\\d\u0041")", "payload.plan contains 'r'", "payload.plan contains ''"}) {
    EXPECT_TRUE(Fits(yes)) << yes;
  }
  EXPECT_FALSE(Fits("payload.plan == 'PRO'"));
  EXPECT_FALSE(Fits("payload.plan contains 'x'"));
  EXPECT_TRUE(Fits(R"(payload == "\ud83d\ude00")", "\"\xF0\x9F\x98\x80\""));
}

TEST(WhereTest, ValuesOfAnotherKindAndThoseThatAreMissingPassNoTest) {
  for (const char* no :
       {"payload.customer == '42'", "payload.customer != '42'", "payload.customer < '5'", "payload.missing == 1",
        "payload.missing != 1", "payload.missing == null", "payload.missing != null", "payload.note == false",
        "payload.note != 1", "payload.plan.deeper == 1", "payload.items.sku == 'x'", "payload.address[0] == 1",
        "payload.items == 1", "payload.empty != 1", "payload.items[2].sku == 'x'", "payload.vip == 1"}) {
    EXPECT_FALSE(Fits(no)) << no;
  }
  EXPECT_TRUE(Fits("!(payload.missing == 1)"));
}

TEST(WhereTest, EverythingIsNullOrNot) {
  EXPECT_TRUE(Fits("payload.note == null"));
  EXPECT_FALSE(Fits("payload.note != null"));
  for (const char* yes : {"payload.customer != null", "payload.items != null", "payload.empty != null"}) {
    EXPECT_TRUE(Fits(yes)) << yes;
  }
}

TEST(WhereTest, APathAloneMeansTrue) {
  EXPECT_TRUE(Fits("payload.vip"));
  EXPECT_TRUE(Fits("payload.vip == true && payload.old == false && payload.old != true"));
  EXPECT_FALSE(Fits("payload.old"));
  EXPECT_FALSE(Fits("payload.customer"));
  EXPECT_TRUE(Fits("!payload.missing"));
}

TEST(WhereTest, InContainsAndHas) {
  for (const char* yes :
       {"payload.customer in [1, 42, 'x']", "payload.note in [null]", "payload.plan in ['pro']",
        "payload.tags contains 'red'", "payload.tags contains 7", "payload.tags contains null", "has(payload.note)",
        "has(payload.items[1].n)", "has(payload)", "has(payload.none)", "payload.tags[4] contains 'deep'"}) {
    EXPECT_TRUE(Fits(yes)) << yes;
  }
  for (const char* no : {"payload.customer in [1, '42']", "payload.missing in [null]", "payload.tags contains 'deep'",
                         "payload.tags contains '7'", "payload.none contains 1", "payload.address contains 'city'",
                         "has(payload.missing)", "has(payload.none[0])", "payload.tags in ['red']"}) {
    EXPECT_FALSE(Fits(no)) << no;
  }
}

TEST(WhereTest, AndBindsTighterThanOrAndNotTightest) {
  EXPECT_TRUE(Fits("payload.vip || payload.old && payload.old"));
  EXPECT_FALSE(Fits("(payload.vip || payload.old) && payload.old"));
  EXPECT_TRUE(Fits("!payload.old && payload.vip"));
  EXPECT_FALSE(Fits("!(payload.old || payload.vip)"));
  EXPECT_TRUE(Fits("!!payload.vip"));
  EXPECT_TRUE(Fits("payload.customer == 42 && (payload.plan != \"free\" || payload.items[0].sku == \"x\")"));
}

TEST(WhereTest, PathsLeadThroughArraysAndObjects) {
  EXPECT_TRUE(Fits("payload.items[1].sku == 'y' && payload.items[0].n == 1"));
  EXPECT_TRUE(Fits("payload[1][0] == 3", "[[1],[3,4]]"));
  EXPECT_TRUE(Fits("payload contains 3", "[1,3]"));
  EXPECT_TRUE(Fits("payload == 'x'", "\"x\""));
  EXPECT_TRUE(Fits("payload.payload-id == 1 && payload.in == 2 && payload.has == 3",
                   R"({"payload-id": 1, "in": 2, "has": 3})"));
}

TEST(WhereTest, OfAFieldThatComesTwiceTheLastCounts) {
  EXPECT_TRUE(Fits("payload.a == 2", R"({"a": 1, "a": 2})"));
  EXPECT_FALSE(Fits("payload.a == 1", R"({"a": 1, "a": 2})"));
  EXPECT_FALSE(Fits("has(payload.a.b)", R"({"a": {"b": 1}, "a": {}})"));
  EXPECT_FALSE(Fits("payload.a contains 1", R"({"a": [1], "a": [2]})"));
}

TEST(WhereTest, WhatIsNoJsonFitsNothing) {
  for (const char* payload : {"", "hello", "{\"vip\": true", "{\"vip\": true} x", "\xFF", "{'vip': true}", "NaN"}) {
    EXPECT_FALSE(Fits("payload.vip", payload)) << payload;
    EXPECT_FALSE(Fits("!payload.vip", payload)) << payload;
  }
}

TEST(WhereTest, DeepAndWidePayloadsAreReadInTheirStride) {
  const std::string deep = std::string(500'000, '[') + std::string(500'000, ']');
  EXPECT_TRUE(Fits("has(payload[0][0])", deep));
  std::string wide = R"({"list": [0)";
  for (int i = 0; i < 200'000; ++i) wide += ",[]";
  wide += R"(], "last": true})";
  EXPECT_TRUE(Fits("payload.last", wide));
}

TEST(WhereTest, WhatIsWrongIsSaidWithItsPlaceAndWhatWouldBeRight) {
  EXPECT_EQ(ErrorOf(""), "at 1: the end where a path (payload.name), has(), ! or ( should be");
  EXPECT_EQ(ErrorOf("customer == 1"), "at 1: 'customer' where a path (payload.name), has(), ! or ( should be");
  EXPECT_EQ(ErrorOf("payload.a = 1"),
            "at 11: '=' where ==, !=, <, <=, >, >=, in, contains, &&, ||, .name or [index] should be");
  EXPECT_EQ(ErrorOf("payload.a == b"), "at 14: 'b' where a text in quotes, a number, true, false or null should be");
  EXPECT_EQ(ErrorOf("payload.a == 1 payload.b"), "at 16: 'payload' where &&, || or the end should be");
  EXPECT_EQ(ErrorOf("(payload.a == 1"), "at 16: the end where &&, || or ) should be");
  EXPECT_EQ(ErrorOf("payload.a == 'x"), "at 14: the text that begins here has no end: ' is missing");
  EXPECT_EQ(ErrorOf("payload.a < true"),
            "at 13: 'true' where a number or a text in quotes, which alone have an order, should be");
  EXPECT_THAT(ErrorOf("payload."), HasSubstr("a field's name"));
  EXPECT_THAT(ErrorOf("payload.1"), HasSubstr("a field's name"));
  EXPECT_THAT(ErrorOf("payload[-1]"), HasSubstr("an index from 0 on"));
  EXPECT_THAT(ErrorOf("payload[99999999999999999999]"), HasSubstr("an index from 0 on"));
  EXPECT_THAT(ErrorOf("payload[0"), HasSubstr("the end where ] should be"));
  EXPECT_THAT(ErrorOf("payload.a in 1"), HasSubstr("[ and a list of values"));
  EXPECT_THAT(ErrorOf("payload.a in []"), HasSubstr("a text in quotes, a number"));
  EXPECT_THAT(ErrorOf("payload.a in [1 2]"), HasSubstr("a comma or ]"));
  EXPECT_THAT(ErrorOf("has payload.a"), HasSubstr("( and a path"));
  EXPECT_THAT(ErrorOf("payload.a == '\\x'"), HasSubstr("an escape"));
  EXPECT_THAT(ErrorOf("payload.a == '\\ud800'"), HasSubstr("an escape"));
  for (const char* number : {"-", "1x", "1.5.2", "-nan", "1e999", "--1", "0x10"}) {
    EXPECT_FALSE(Where::Parse(std::string("payload.a == ") + number).ok()) << number;
  }
}

TEST(WhereTest, LengthAndDepthAreBounded) {
  EXPECT_TRUE(Where::Parse(std::string(32, '!') + "payload.a").ok());
  EXPECT_THAT(ErrorOf(std::string(33, '!') + "payload.a"), HasSubstr("more than 32"));
  EXPECT_THAT(ErrorOf(std::string(1'000, '(')), HasSubstr("more than 32"));
  EXPECT_THAT(ErrorOf("payload.a == '" + std::string(1'024, 'x') + "'"), HasSubstr("at most 1024 bytes"));
}

// What a fuzzer would do, in small: pieces of conditions and payloads put together.
TEST(WhereTest, AnyTextIsRefusedOrIsACondition) {
  const std::vector<std::string> pieces = {
      "payload", ".a", "[0]",     "[\"b\"]",        "==",          "!=",  "<",  ">=", " in ", "[1,'x']", " contains ",
      "'x'",     "1",  "-2.5",    "true",           "null",        "&&",  "||", "!",  "(",    ")",       "has(",
      " ",       "\"", "\\u00e4", "payload.a == 1", "payload.a.b", "\xC3"};
  const std::vector<std::string> payloads = {
      "{}", R"({"a":1})", R"({"a":{"b":"x"}})", "[1,[2]]", R"({"a":[1,"x",null]})", "x", "{\"a\":"};
  std::mt19937 random(20'261'201);
  int valid = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (uint32_t n = random() % 8 + 1; n > 0; --n) text += pieces[random() % pieces.size()];
    if (Where::Parse(text).ok()) ++valid;
    text += "\n" + payloads[random() % payloads.size()];
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
  EXPECT_GT(valid, 100);
}

}  // namespace
}  // namespace penstock::broker
