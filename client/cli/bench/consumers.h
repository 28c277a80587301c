#ifndef PENSTOCK_CLIENT_CLI_BENCH_CONSUMERS_H_
#define PENSTOCK_CLIENT_CLI_BENCH_CONSUMERS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "client/cli/bench/bench_options.h"
#include "client/cli/bench/histogram.h"
#include "client/cli/bench/producer.h"
#include "client/client_options.h"
#include "common/mutex.h"
#include "worker/worker.h"

namespace penstock::cli {

// The workers of a benchmark, a connection each. Their handler does nothing.
class Consumers {
 public:
  explicit Consumers(const BenchOptions& options) : options_(options) {}

  // With `measure` every start is counted in starts().
  absl::Status Start(const ClientOptions& connect, bool measure);
  void Stop();

  uint64_t handled() const { return handled_; }
  // From now on starts are counted.
  void BeginMeasuring();
  // From when a task was due to its handler's start.
  Histogram starts() const;

 private:
  void Measure(BenchClock::time_point due);

  const BenchOptions& options_;
  std::atomic<uint64_t> handled_ = 0;
  mutable Mutex mu_;
  Histogram starts_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Worker>> workers_;  // first to go: its threads use the others
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_CONSUMERS_H_
