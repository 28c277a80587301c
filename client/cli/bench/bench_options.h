#ifndef PENSTOCK_CLIENT_CLI_BENCH_BENCH_OPTIONS_H_
#define PENSTOCK_CLIENT_CLI_BENCH_BENCH_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace penstock::cli {

enum class Scenario { kEnqueue, kDrain, kBoth, kLatency, kFill, kIdle };
const char* ToString(Scenario scenario);

// What a benchmark does. Help says what each is for (bench_command.cc).
struct BenchOptions {
  Scenario scenario = Scenario::kEnqueue;
  uint64_t tasks = 200'000;
  size_t payload_bytes = 256;
  int batch = 1;                            // tasks of a call
  int in_flight = 4'096;                    // tasks that wait for their acknowledgement, over all producers
  int callers = 0;                          // blocking threads that enqueue, over all producers; 0: in_flight counts
  int producers = 1;                        // connections that enqueue
  int workers = 1;                          // connections that take tasks
  int slots = 64;                           // of a worker
  double rate = 200;                        // tasks a second (latency)
  absl::Duration duration;                  // idle: how long
  absl::Duration delay;                     // fill: all tasks are due this long after the beginning; 0: at once
  int queues = 1;                           // more than one: their names are numbered
  int keys = 0;                             // the tasks take turns with so many FIFO keys; 0: they have none
  int groups = 0;                           // and with so many groups
  bool relaxed = false;                     // durability
  std::optional<absl::Duration> retention;  // of results; absent: the broker's default
  std::string queue = "penstock-bench";
  bool force = false;
  std::string fsync_dir;  // empty: TMPDIR, or /tmp

  bool HasWorkers() const { return scenario != Scenario::kEnqueue && scenario != Scenario::kFill; }
  // From 0.
  std::string QueueName(uint64_t number) const {
    return queues == 1 ? queue : queue + "-" + std::to_string(number % static_cast<uint64_t>(queues) + 1);
  }
};

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_BENCH_OPTIONS_H_
