#include "broker/storage/envelope.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

using ::testing::HasSubstr;

TEST(EnvelopeTest, BodyIsReadBack) {
  for (const std::string& body : {std::string(), std::string("body"), std::string(100'000, 'x')}) {
    const std::string value = SealValue("key", body);
    EXPECT_EQ(value.size(), body.size() + kEnvelopeBytes);
    absl::StatusOr<std::string_view> opened = OpenValue("key", value);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(*opened, body);
  }
}

TEST(EnvelopeTest, SealingInPlaceGivesTheSameValue) {
  std::string value = std::string(kEnvelopeBytes, '?') + "body";
  SealValueInPlace("key", &value);
  EXPECT_EQ(value, SealValue("key", "body"));
}

// Stored data depends on it: version 1, CRC-32C of "key" "\1" "body", body.
TEST(EnvelopeTest, FormatIsFixed) {
  EXPECT_EQ(SealValue("key", "body"), std::string("\x01\x1a\xdb\x11\x29"
                                                  "body",
                                                  9));
}

TEST(EnvelopeTest, EveryFlippedBitIsNoticed) {
  const std::string value = SealValue("key", "body");
  for (size_t bit = 0; bit < value.size() * 8; ++bit) {
    std::string damaged = value;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    absl::StatusOr<std::string_view> opened = OpenValue("key", damaged);
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr("6b6579"));
  }
}

TEST(EnvelopeTest, ValueOfAnotherKeyIsNoticed) {
  EXPECT_TRUE(absl::IsDataLoss(OpenValue("other", SealValue("key", "body")).status()));
}

TEST(EnvelopeTest, CutValueIsNoticed) {
  const std::string value = SealValue("key", "body");
  for (size_t size = 0; size < value.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(OpenValue("key", value.substr(0, size)).status())) << size;
  }
}

}  // namespace
}  // namespace penstock::broker
