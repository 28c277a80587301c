#include "common/coding.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace penstock {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(CodingTest, BigEndianSortsLikeTheNumbers) {
  std::vector<std::string> keys;
  for (uint64_t number : {uint64_t{0}, uint64_t{1}, uint64_t{255}, uint64_t{256}, uint64_t{1} << 40, kMax}) {
    keys.emplace_back();
    PutBig64(&keys.back(), number);
    EXPECT_EQ(keys.back().size(), 8u);
    EXPECT_EQ(Decoder(keys.back()).Big64(), number);
  }
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
}

TEST(CodingTest, EveryKindComesBackInOrder) {
  std::string text;
  PutBig16(&text, 0xabcd);
  PutBig32(&text, 0x12345678);
  PutVarint(&text, 300);
  PutSigned(&text, -5);
  PutBytes(&text, "task");
  PutBytes(&text, "");
  text += "rest";
  Decoder decoder(text);
  EXPECT_EQ(decoder.Big16(), 0xabcd);
  EXPECT_EQ(decoder.Big32(), 0x12345678u);
  EXPECT_EQ(decoder.Varint(), 300u);
  EXPECT_EQ(decoder.Signed(), -5);
  EXPECT_EQ(decoder.Bytes(), "task");
  EXPECT_EQ(decoder.Bytes(), "");
  EXPECT_TRUE(decoder.ok());
  EXPECT_FALSE(decoder.done());
  EXPECT_EQ(decoder.rest(), "rest");
}

TEST(CodingTest, VarintsOfEveryLengthComeBack) {
  for (int bits = 0; bits <= 64; ++bits) {
    const uint64_t value = bits == 64 ? kMax : (uint64_t{1} << bits) - 1;
    std::string text;
    PutVarint(&text, value);
    Decoder decoder(text);
    EXPECT_EQ(decoder.Varint(), value);
    EXPECT_TRUE(decoder.ok() && decoder.done());
  }
}

TEST(CodingTest, SignedExtremesComeBack) {
  for (int64_t value :
       {std::numeric_limits<int64_t>::min(), int64_t{-1}, int64_t{0}, std::numeric_limits<int64_t>::max()}) {
    std::string text;
    PutSigned(&text, value);
    EXPECT_EQ(Decoder(text).Signed(), value);
  }
}

TEST(CodingTest, ValueCutShortFailsAndAllAfterIt) {
  Decoder number(std::string_view("\x01\x02\x03", 3));
  EXPECT_EQ(number.Big32(), 0u);
  EXPECT_FALSE(number.ok());
  EXPECT_EQ(number.Byte(), 0);

  Decoder varint(std::string_view("\x80\x80", 2));
  EXPECT_EQ(varint.Varint(), 0u);
  EXPECT_FALSE(varint.ok());

  Decoder bytes(std::string_view("\x05zzzz", 5));
  EXPECT_EQ(bytes.Bytes(), "");
  EXPECT_FALSE(bytes.ok());
}

TEST(CodingTest, VarintOfMoreThan64BitsFails) {
  Decoder eleven(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11));
  eleven.Varint();
  EXPECT_FALSE(eleven.ok());
  Decoder overflow(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
  overflow.Varint();
  EXPECT_FALSE(overflow.ok());
}

}  // namespace
}  // namespace penstock
