#ifndef PENSTOCK_CLIENT_CLI_BENCH_BENCH_QUEUE_H_
#define PENSTOCK_CLIENT_CLI_BENCH_BENCH_QUEUE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/bench/bench_options.h"
#include "client/cli/bench/bench_result.h"
#include "client/cli/connection.h"

namespace penstock::cli {

// The queues of a benchmark and the broker behind them, as an operator sees them. One thread.
class BenchQueue {
 public:
  BenchQueue(Connection& broker, const BenchOptions& options) : broker_(broker), options_(options) {}

  // Makes the queues. FailedPrecondition: one exists with tasks, or is not ours, and force is not set.
  absl::Status Make();
  absl::Status Pause();
  absl::Status Resume();
  // Tasks that workers completed.
  absl::StatusOr<uint64_t> Completed();
  // Whether so many workers of this queue are connected.
  absl::StatusOr<bool> WorkersConnected(int count);
  // Deletes the queues that Make made, with what is left in them.
  absl::Status Remove();

  // Counts since the broker's start.
  absl::StatusOr<BrokerUsage> Usage();
  absl::StatusOr<std::string> BrokerVersion();
  // Of a small call.
  absl::StatusOr<Histogram> MeasureRoundTrip();

 private:
  absl::Status MakeOne(const std::string& name);
  absl::Status RemoveOne(const std::string& name);
  template <class Visit>
  absl::Status ForEach(Visit visit);

  Connection& broker_;
  const BenchOptions& options_;
  int made_ = 0;
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_BENCH_QUEUE_H_
