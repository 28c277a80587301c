#include "client/cli/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace penstock::cli {
namespace {

constexpr int kSubBits = 7;
constexpr uint64_t kSub = uint64_t{1} << kSubBits;
// Values from 2^kSubBits units on have a power of two of their own; a unit is 8 ns, so those are from 1 us on.
constexpr uint64_t kUnit = 8;
// Up to 2^40 units: more than two hours.
constexpr size_t kBuckets = (40 - kSubBits + 1) * kSub;

}  // namespace

Histogram::Histogram() : counts_(kBuckets) {}

size_t Histogram::BucketOf(uint64_t nanos) {
  const uint64_t units = nanos / kUnit;
  if (units < kSub) return units;
  const int power = std::bit_width(units) - 1 - kSubBits;
  return std::min(static_cast<size_t>(power + 1) * kSub + ((units >> power) - kSub), kBuckets - 1);
}

uint64_t Histogram::EndOf(size_t bucket) {
  if (bucket < kSub) return (bucket + 1) * kUnit;
  const size_t power = bucket / kSub - 1;
  return ((kSub + bucket % kSub + 1) << power) * kUnit;
}

void Histogram::Add(absl::Duration value) {
  value = std::max(value, absl::ZeroDuration());
  ++counts_[BucketOf(static_cast<uint64_t>(absl::ToInt64Nanoseconds(value)))];
  ++count_;
  max_ = std::max(max_, value);
}

void Histogram::Add(const Histogram& other) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

absl::Duration Histogram::At(double part) const {
  const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(part * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size() && count_ > 0; ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(max_, absl::Nanoseconds(static_cast<int64_t>(EndOf(i))));
  }
  return max_;
}

}  // namespace penstock::cli
