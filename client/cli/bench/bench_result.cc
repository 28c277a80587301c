#include "client/cli/bench/bench_result.h"

#include <algorithm>

#include "client/cli/output.h"
#include "common/units.h"
#include "common/version.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace penstock::cli {
namespace {

double PerMillion(absl::Duration cpu, uint64_t tasks) {
  return tasks == 0 ? 0 : absl::ToDoubleSeconds(cpu) * 1e6 / static_cast<double>(tasks);
}

// "0.62 ms", "12.3 ms": latencies of one table in one unit, so that they can be compared.
std::string Millis(absl::Duration time) {
  const double ms = absl::ToDoubleMilliseconds(time);
  return fmt::format("{:.{}f} ms", ms, ms < 1 ? 3 : ms < 10 ? 2 : 1);
}

std::string Percentiles(const Histogram& values) {
  return fmt::format("p50 {}  p99 {}  p99.9 {}  max {}", Millis(values.At(0.5)), Millis(values.At(0.99)),
                     Millis(values.At(0.999)), Millis(values.max()));
}

nlohmann::ordered_json PercentilesJson(const Histogram& values) {
  return {{"count", values.count()},
          {"p50", absl::ToDoubleSeconds(values.At(0.5))},
          {"p99", absl::ToDoubleSeconds(values.At(0.99))},
          {"p999", absl::ToDoubleSeconds(values.At(0.999))},
          {"max", absl::ToDoubleSeconds(values.max())}};
}

std::string Producers(const BenchOptions& options) {
  if (options.scenario == Scenario::kLatency) return fmt::format("{} tasks/s", FormatRate(options.rate));
  const std::string calls = options.callers > 0 ? CountOf(static_cast<uint64_t>(options.callers), "blocking caller")
                                                : FormatCount(static_cast<uint64_t>(options.in_flight)) + " in flight";
  return fmt::format("{}, {} a call, {}", CountOf(static_cast<uint64_t>(options.producers), "producer"),
                     CountOf(static_cast<uint64_t>(options.batch), "task"), calls);
}

std::string Workers(const BenchOptions& options) {
  if (!options.HasWorkers()) return "";
  return fmt::format("; {} of {}", CountOf(static_cast<uint64_t>(options.workers), "worker"),
                     CountOf(static_cast<uint64_t>(options.slots), "slot"));
}

}  // namespace

const char* ToString(Scenario scenario) {
  switch (scenario) {
    case Scenario::kEnqueue:
      return "enqueue";
    case Scenario::kDrain:
      return "drain";
    case Scenario::kBoth:
      return "both";
    case Scenario::kLatency:
      return "latency";
    case Scenario::kFill:
      return "fill";
    case Scenario::kIdle:
      return "idle";
  }
  return "";
}

double BenchResult::TasksPerSecond() const {
  return elapsed <= absl::ZeroDuration() ? 0 : static_cast<double>(tasks) / absl::ToDoubleSeconds(elapsed);
}

double BenchResult::BrokerCpuPerMillion() const { return PerMillion(broker.cpu, tasks); }

double BenchResult::OwnCpuPerMillion() const { return PerMillion(own_cpu, tasks); }

double BenchResult::WrittenPerPayload() const {
  const double payload = static_cast<double>(tasks) * static_cast<double>(options.payload_bytes);
  return payload == 0 ? 0 : static_cast<double>(broker.written_bytes) / payload;
}

double BenchResult::BrokerCores() const {
  return elapsed <= absl::ZeroDuration() ? 0 : absl::FDivDuration(broker.cpu, elapsed);
}

int64_t BenchResult::MemoryPerWorker() const {
  return (static_cast<int64_t>(broker.memory_bytes) - static_cast<int64_t>(memory_before)) / options.workers;
}

namespace {

std::string RenderMachine(const BenchResult& result) {
  const Machine& machine = result.machine;
  return fmt::format("  {:<14}{}; fdatasync in {}: p50 {}, p99 {}; round trip to the broker: p50 {}\n", "machine",
                     CountOf(static_cast<uint64_t>(machine.cores), "core"), machine.fsync_dir,
                     Millis(machine.fdatasync.At(0.5)), Millis(machine.fdatasync.At(0.99)),
                     Millis(machine.round_trip.At(0.5)));
}

std::string RenderIdle(const BenchResult& result) {
  return fmt::format("idle: {} for {}\n\n  {:<14}{:.2f} % of a core, {} of memory, {} for each worker\n",
                     CountOf(static_cast<uint64_t>(result.options.workers), "worker"),
                     penstock::FormatDuration(result.elapsed), "broker", 100 * result.BrokerCores(),
                     FormatSize(result.broker.memory_bytes),
                     FormatSize(static_cast<uint64_t>(std::max<int64_t>(0, result.MemoryPerWorker())))) +
         RenderMachine(result);
}

}  // namespace

std::string RenderText(const BenchResult& result) {
  const BenchOptions& options = result.options;
  if (options.scenario == Scenario::kIdle) return RenderIdle(result);
  std::string text = fmt::format("{}: {} of {}, {}{}, durability {}\n\n", ToString(options.scenario),
                                 CountOf(result.tasks, "task"), FormatSize(options.payload_bytes), Producers(options),
                                 Workers(options), options.relaxed ? "relaxed" : "sync");
  text += fmt::format("  {:<14}{}/s in {}\n", "tasks", FormatRate(result.TasksPerSecond()),
                      penstock::FormatDuration(result.elapsed));
  if (result.enqueue.count() > 0) text += fmt::format("  {:<14}{}\n", "enqueue", Percentiles(result.enqueue));
  if (result.start.count() > 0) text += fmt::format("  {:<14}{}\n", "handler start", Percentiles(result.start));
  text += fmt::format("  {:<14}{:.2f} CPU seconds a million tasks, {} of memory\n", "broker",
                      result.BrokerCpuPerMillion(), FormatSize(result.broker.memory_bytes));
  text += fmt::format("  {:<14}{}, {}, {} written, {:.2f} times the payloads\n", "disk",
                      CountOf(result.broker.commits, "commit"), CountOf(result.broker.syncs, "fsync"),
                      FormatSize(result.broker.written_bytes), result.WrittenPerPayload());
  text += fmt::format("  {:<14}{:.2f} CPU seconds a million tasks\n", "this process", result.OwnCpuPerMillion());
  text += RenderMachine(result);
  return text;
}

std::string RenderJson(const BenchResult& result) {
  const BenchOptions& options = result.options;
  nlohmann::ordered_json json = {
      {"scenario", ToString(options.scenario)},
      {"tasks", result.tasks},
      {"payload_bytes", options.payload_bytes},
      {"durability", options.relaxed ? "relaxed" : "sync"},
  };
  if (options.scenario == Scenario::kLatency) {
    json["rate"] = options.rate;
  } else {
    json["producers"] = options.producers;
    json["batch"] = options.batch;
    if (options.callers > 0) {
      json["callers"] = options.callers;
    } else {
      json["in_flight"] = options.in_flight;
    }
  }
  if (options.HasWorkers()) {
    json["workers"] = options.workers;
    json["slots"] = options.slots;
  }
  if (options.queues > 1) json["queues"] = options.queues;
  json["seconds"] = absl::ToDoubleSeconds(result.elapsed);
  json["tasks_per_second"] = result.TasksPerSecond();
  if (result.enqueue.count() > 0) json["enqueue_seconds"] = PercentilesJson(result.enqueue);
  if (result.start.count() > 0) json["start_seconds"] = PercentilesJson(result.start);
  json["broker"] = {{"version", result.broker_version},
                    {"cpu_seconds", absl::ToDoubleSeconds(result.broker.cpu)},
                    {"cpu_seconds_per_million", result.BrokerCpuPerMillion()},
                    {"memory_bytes", result.broker.memory_bytes},
                    {"commits", result.broker.commits},
                    {"syncs", result.broker.syncs},
                    {"written_bytes", result.broker.written_bytes}};
  if (options.scenario == Scenario::kIdle) {
    json["broker"]["cores"] = result.BrokerCores();
    json["broker"]["memory_bytes_per_worker"] = result.MemoryPerWorker();
  }
  json["client"] = {{"version", kVersion},
                    {"cpu_seconds", absl::ToDoubleSeconds(result.own_cpu)},
                    {"cpu_seconds_per_million", result.OwnCpuPerMillion()}};
  json["machine"] = {{"cores", result.machine.cores},
                     {"fsync_dir", result.machine.fsync_dir},
                     {"fdatasync_seconds", PercentilesJson(result.machine.fdatasync)},
                     {"round_trip_seconds", PercentilesJson(result.machine.round_trip)}};
  return json.dump(2) + "\n";
}

}  // namespace penstock::cli
