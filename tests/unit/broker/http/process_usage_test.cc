#include "broker/http/process_usage.h"

#include "gtest/gtest.h"

namespace penstock::broker {
namespace {

TEST(ProcessUsageTest, EveryValueIsKnownOnLinux) {
  const ProcessUsage usage = ReadProcessUsage();
  EXPECT_GE(usage.cpu, absl::ZeroDuration());
  EXPECT_GT(usage.resident_bytes, 0u);
  EXPECT_GE(usage.open_fds, 3u);
  EXPECT_GE(usage.max_fds, usage.open_fds);
}

}  // namespace
}  // namespace penstock::broker
