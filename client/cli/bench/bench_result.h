#ifndef PENSTOCK_CLIENT_CLI_BENCH_BENCH_RESULT_H_
#define PENSTOCK_CLIENT_CLI_BENCH_BENCH_RESULT_H_

#include <string>

#include "client/cli/bench/bench_options.h"
#include "client/cli/bench/histogram.h"
#include "client/cli/bench/machine.h"

namespace penstock::cli {

// What the broker spent, between two moments.
struct BrokerUsage {
  absl::Duration cpu;
  uint64_t commits = 0;
  uint64_t syncs = 0;
  uint64_t written_bytes = 0;  // to the disk
  uint64_t memory_bytes = 0;   // at the end
};

struct BenchResult {
  BenchOptions options;
  uint64_t tasks = 0;      // that went the whole way
  absl::Duration elapsed;  // of what the scenario measures
  BrokerUsage broker;
  uint64_t memory_before = 0;  // idle: of the broker, before the workers came
  absl::Duration own_cpu;      // of this process: producers and workers
  Histogram enqueue;           // from the call (or the moment it was due) to its acknowledgement
  Histogram start;             // latency only: from the moment it was due to its handler's start
  Machine machine;
  std::string broker_version;

  double TasksPerSecond() const;
  // CPU seconds for a million tasks.
  double BrokerCpuPerMillion() const;
  double OwnCpuPerMillion() const;
  // How often the bytes of the tasks' payloads were written to the disk.
  double WrittenPerPayload() const;
  // Cores that the broker kept busy.
  double BrokerCores() const;
  // idle: what a connected worker costs the broker.
  int64_t MemoryPerWorker() const;
};

// For people.
std::string RenderText(const BenchResult& result);
// One object. Durations are seconds.
std::string RenderJson(const BenchResult& result);

}  // namespace penstock::cli

#endif  // PENSTOCK_CLIENT_CLI_BENCH_BENCH_RESULT_H_
