#include "broker/storage/applied.h"

#include <limits>
#include <string>

#include "broker/storage/envelope.h"
#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

const Applied kApplied = {.sequence = 12345, .epoch = 7, .time_micros = 1'800'000'000'000'000, .hash = 0xabcdef};

TEST(AppliedTest, RecordIsReadBack) {
  const std::string key = AppliedKey(3);
  const Applied extremes = {.sequence = std::numeric_limits<uint64_t>::max(),
                            .epoch = 0,
                            .time_micros = std::numeric_limits<int64_t>::min(),
                            .hash = std::numeric_limits<uint64_t>::max()};
  for (const Applied& applied : {kApplied, Applied(), extremes}) {
    absl::StatusOr<Applied> decoded = DecodeApplied(key, EncodeApplied(key, applied));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, applied);
  }
}

TEST(AppliedTest, KeysOfPartitionsDiffer) {
  EXPECT_EQ(AppliedKey(0), std::string("\0applied", 8));
  EXPECT_EQ(AppliedKey(255),
            "\xff"
            "applied");
}

TEST(AppliedTest, FieldsOfALaterVersionAreKept) {
  const std::string key = AppliedKey(0);
  std::string value = EncodeApplied(key, kApplied) + "more";
  SealValueInPlace(key, &value);
  absl::StatusOr<Applied> decoded = DecodeApplied(key, value);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  Applied expected = kApplied;
  expected.rest = "more";
  EXPECT_EQ(*decoded, expected);
  EXPECT_EQ(EncodeApplied(key, *decoded), value);
}

TEST(AppliedTest, CutOrForeignRecordIsDataLoss) {
  const std::string key = AppliedKey(0);
  EXPECT_TRUE(absl::IsDataLoss(DecodeApplied(key, SealValue(key, "\x01\x02")).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeApplied(AppliedKey(1), EncodeApplied(key, kApplied)).status()));
}

TEST(AppliedTest, ChainHashDependsOnEverything) {
  const uint64_t hash = ChainHash(1, 2, "operations");
  EXPECT_EQ(hash, ChainHash(1, 2, "operations"));
  EXPECT_NE(hash, ChainHash(2, 2, "operations"));
  EXPECT_NE(hash, ChainHash(1, 3, "operations"));
  EXPECT_NE(hash, ChainHash(1, 2, "operation"));
  EXPECT_NE(ChainHash(0, 0, ""), ChainHash(0, 1, ""));
}

}  // namespace
}  // namespace penstock::broker
