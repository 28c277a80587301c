#include "worker/prefetch.h"

#include <algorithm>

namespace penstock {
namespace {

constexpr absl::Duration kAhead = absl::Milliseconds(10);

}  // namespace

void Prefetch::OnFinish(absl::Duration now) {
  ++finished_;
  const absl::Duration passed = now - since_;
  if (passed < kAhead) return;
  value_ = std::clamp(static_cast<int>(finished_ * absl::FDivDuration(kAhead, passed)), least_, most_);
  since_ = now;
  finished_ = 0;
}

}  // namespace penstock
