#ifndef PENSTOCK_CLIENT_CLI_BENCH_PRODUCER_H_
#define PENSTOCK_CLIENT_CLI_BENCH_PRODUCER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "client/cli/bench/bench_options.h"
#include "client/cli/bench/histogram.h"
#include "client/client.h"
#include "common/mutex.h"

namespace penstock::cli {

// The clock of all latencies: moments of one process.
using BenchClock = std::chrono::steady_clock;

// The type of every task of a benchmark.
inline constexpr char kBenchType[] = "bench";

// A payload of `bytes`; the first eight tell when the task was due, for TimeIn.
std::string MakePayload(size_t bytes, BenchClock::time_point due);
// When the task with this payload was due.
BenchClock::time_point TimeIn(std::string_view payload);

// One connection that enqueues, and what it saw. Run by one thread; anybody may ask for progress.
class Producer {
 public:
  Producer(std::unique_ptr<Client> client, const BenchOptions& options);
  // Waits for what is under way.
  ~Producer();

  // Closed loop: `count` tasks, at most `in_flight` of them unacknowledged. Ends early when a call fails or the user
  // interrupts.
  absl::Status Produce(uint64_t count, int in_flight);
  // Open loop: `count` tasks at `rate` a second, however long acknowledgements take; latencies count from when a task
  // was due, so a stall is seen by every task that it delays.
  absl::Status ProduceAtRate(uint64_t count, double rate);

  uint64_t acknowledged() const { return acknowledged_; }
  // After the producing.
  const Histogram& latencies() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return latencies_; }

 private:
  NewTask MakeTask(BenchClock::time_point due);
  void Send(BenchClock::time_point due);
  void SendMany(uint64_t count);
  // Of `batch` tasks each, `calls` of them under way.
  absl::Status ProduceInCalls(uint64_t count, int calls);
  void Done(uint64_t tasks, BenchClock::time_point due, const absl::Status& status);
  void AwaitUnderWay(int64_t at_most);
  bool stopped() const;

  const BenchOptions options_;
  const std::unique_ptr<Client> client_;
  const absl::Time run_at_;  // of tasks with a delay
  std::atomic<uint64_t> made_ = 0;
  std::atomic<uint64_t> acknowledged_ = 0;
  std::atomic<int64_t> under_way_ = 0;
  std::atomic<bool> failed_ = false;
  Mutex mu_;
  CondVar fewer_;  // as few as awaited_ are under way
  int64_t awaited_ ABSL_GUARDED_BY(mu_) = 0;
  Histogram latencies_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);  // the first
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_PRODUCER_H_
