#include "client/backoff.h"

#include <algorithm>
#include <set>

#include "gtest/gtest.h"

namespace penstock {
namespace {

// The pauses of many clients that fail together must not meet.
TEST(BackoffTest, PausesAreDrawnFromNothingToABoundThatDoubles) {
  ClientOptions options;
  options.reconnect_min = absl::Milliseconds(100);
  options.reconnect_max = absl::Seconds(1);
  const std::pair<int, absl::Duration> cases[] = {{1, absl::Milliseconds(100)},
                                                  {2, absl::Milliseconds(200)},
                                                  {4, absl::Milliseconds(800)},
                                                  {5, absl::Seconds(1)},
                                                  {1'000, absl::Seconds(1)}};
  for (const auto& [failures, bound] : cases) {
    std::set<absl::Duration> drawn;
    for (int i = 0; i < 1'000; ++i) drawn.insert(Backoff(options, failures));
    EXPECT_GE(*drawn.begin(), absl::ZeroDuration()) << failures;
    EXPECT_LT(*drawn.rbegin(), bound) << failures;
    EXPECT_LT(*drawn.begin(), bound * 0.1) << failures;
    EXPECT_GT(*drawn.rbegin(), bound * 0.9) << failures;
    EXPECT_GT(drawn.size(), 990u) << failures;
  }
}

}  // namespace
}  // namespace penstock
