#ifndef PENSTOCK_CLIENT_CLI_BENCH_HISTOGRAM_H_
#define PENSTOCK_CLIENT_CLI_BENCH_HISTOGRAM_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace penstock::cli {

// Counts durations so that any percentile can be told within 1 %, in fixed memory: from 1 us on, every power of two is
// divided into 128 equal buckets, as HdrHistogram does (http://hdrhistogram.org). No locks: one thread at a time.
class Histogram {
 public:
  Histogram();

  void Add(absl::Duration value);
  void Add(const Histogram& other);

  uint64_t count() const { return count_; }
  // The least value that at least this part of all values does not exceed, rounded up to its bucket's end; zero without
  // values. `part` from 0 to 1.
  absl::Duration At(double part) const;
  absl::Duration max() const { return max_; }

 private:
  static size_t BucketOf(uint64_t nanos);
  static uint64_t EndOf(size_t bucket);

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  absl::Duration max_;
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_HISTOGRAM_H_
