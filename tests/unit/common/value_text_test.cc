#include "common/config/value_text.h"

#include <string>

#include "common/units.h"
#include "gtest/gtest.h"

namespace penstock {
namespace {

TEST(ValueTextTest, SizesAreExactAndReadBack) {
  EXPECT_EQ(ExactSize(1 << 20), "1 MiB");
  EXPECT_EQ(ExactSize(1'000'000'000), "1 GB");
  EXPECT_EQ(ExactSize(128), "128 B");
  for (uint64_t size :
       {uint64_t{0}, uint64_t{1}, uint64_t{1'500}, uint64_t{1} << 30, (uint64_t{1} << 30) + 1, UINT64_MAX}) {
    EXPECT_EQ(ParseSize(ExactSize(size)).value(), size);
  }
}

TEST(ValueTextTest, DurationsAreExactAndReadBack) {
  EXPECT_EQ(ExactDuration(absl::Seconds(30)), "30s");
  EXPECT_EQ(ExactDuration(absl::Minutes(90)), "1h30m");
  EXPECT_EQ(ExactDuration(absl::Hours(24)), "24h");
  EXPECT_EQ(ExactDuration(absl::Hours(720)), "30d");
  for (absl::Duration duration : {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Milliseconds(1'500),
                                  absl::Hours(49), absl::Hours(24 * 3'650), absl::Minutes(1) + absl::Microseconds(7)}) {
    EXPECT_EQ(ParseDuration(ExactDuration(duration)).value(), duration);
  }
}

TEST(ValueTextTest, SlipOfThePenFindsItsWord) {
  EXPECT_EQ(NearestOf("paylaod", {"queues", "payload", "result"}), "payload");
  EXPECT_EQ(NearestOf("limits.queue", {"limits.queues", "limits.types"}), "limits.queues");
  EXPECT_EQ(NearestOf("completely different", {"queues", "payload"}), "");
  EXPECT_EQ(NearestOf("x", {"ab", "c"}), "");
}

}  // namespace
}  // namespace penstock
