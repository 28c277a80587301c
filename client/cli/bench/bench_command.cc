#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/arguments.h"
#include "client/cli/bench/bench_result.h"
#include "client/cli/bench/bench_run.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "common/status.h"
#include "common/units.h"

namespace penstock::cli {
namespace {

// As they were given; what was not is BenchOptions' own.
struct Arguments {
  std::optional<int> tasks;
  std::optional<absl::Duration> duration;
  std::string payload;
  std::optional<int> batch;
  std::optional<int> in_flight;
  std::optional<int> callers;
  std::optional<int> queues;
  std::optional<int> keys;
  std::optional<int> groups;
  std::optional<absl::Duration> delay;
  std::optional<int> producers;
  std::optional<int> workers;
  std::optional<int> slots;
  std::optional<double> rate;
  bool relaxed = false;
  std::optional<absl::Duration> retention;
  std::string queue;
  bool force = false;
  std::string fsync_dir;
};

absl::StatusOr<BenchOptions> Read(Scenario scenario, const Arguments& arguments) {
  BenchOptions options;
  options.scenario = scenario;
  if (arguments.tasks) options.tasks = static_cast<uint64_t>(*arguments.tasks);
  if (!arguments.payload.empty()) {
    ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(arguments.payload));
    if (bytes < 8 || bytes > (16 << 20)) return absl::InvalidArgumentError("--payload: from 8 B to 16 MiB");
    options.payload_bytes = bytes;
  }
  options.batch = arguments.batch.value_or(options.batch);
  options.in_flight = arguments.in_flight.value_or(options.in_flight);
  options.callers = arguments.callers.value_or(options.callers);
  if (arguments.callers && arguments.in_flight) {
    return absl::InvalidArgumentError("--callers: each has one call in flight; leave --in-flight out");
  }
  options.queues = arguments.queues.value_or(options.queues);
  options.keys = arguments.keys.value_or(options.keys);
  options.groups = arguments.groups.value_or(options.groups);
  options.delay = arguments.delay.value_or(options.delay);
  options.producers = arguments.producers.value_or(options.producers);
  options.workers = arguments.workers.value_or(options.workers);
  options.slots = arguments.slots.value_or(options.slots);
  options.rate = arguments.rate.value_or(options.rate);
  options.relaxed = arguments.relaxed;
  options.retention = arguments.retention;
  if (!arguments.queue.empty()) options.queue = arguments.queue;
  options.force = arguments.force;
  options.fsync_dir = arguments.fsync_dir;
  options.duration = arguments.duration.value_or(absl::Seconds(10));
  if (scenario == Scenario::kIdle) options.tasks = 0;
  if (scenario == Scenario::kLatency) {
    const double seconds = absl::ToDoubleSeconds(options.duration);
    options.tasks = std::max<uint64_t>(1, static_cast<uint64_t>(seconds * options.rate));
  }
  return options;
}

absl::StatusOr<int> Bench(CommandContext& context, Scenario scenario, const Arguments& arguments) {
  // Now, not after all the work.
  if (context.globals.format == Format::kName) return absl::InvalidArgumentError(kHasNoName);
  ASSIGN_OR_RETURN(const BenchOptions options, Read(scenario, arguments));
  ASSIGN_OR_RETURN(const BenchResult result, RunBench(context, options));
  RETURN_IF_ERROR(PrintObject(context, RenderJson(result), "", [&] { return RenderText(result); }));
  return kExitOk;
}

void AddProducing(CLI::App& command, Scenario scenario, Arguments& arguments) {
  if (scenario == Scenario::kLatency) {
    AddReal(command, "--rate", &arguments.rate, 0.1, 1e6,
            "Tasks a second, whether the broker keeps up or not; latencies count from when a task was due")
        ->default_str("200");
    AddDuration(command, "--duration", &arguments.duration, "How long", absl::Milliseconds(100))->default_str("10s");
  } else {
    AddNumber(command, "--tasks", &arguments.tasks, 1, 1'000'000'000, "How many")->default_str("200000");
    AddNumber(command, "--batch", &arguments.batch, 1, 10'000, "Tasks of a call, stored all or none")->default_str("1");
    AddNumber(command, "--in-flight", &arguments.in_flight, 1, 1'000'000,
              "Tasks that may wait for their acknowledgement, over all producers; 1: one at a time")
        ->default_str("4096");
    AddNumber(command, "--callers", &arguments.callers, 1, 10'000,
              "Instead: threads that call and wait, over all producers");
  }
  if (scenario == Scenario::kFill) {
    AddDuration(command, "--delay", &arguments.delay, "All are due this long after the beginning", absl::Seconds(1));
  }
  AddNumber(command, "--keys", &arguments.keys, 1, 100'000'000,
            "The tasks take turns with so many FIFO keys, each of which runs one task at a time");
  AddNumber(command, "--groups", &arguments.groups, 1, 100'000'000, "And with so many groups, which share the queue");
  AddText(command, "--payload", &arguments.payload, "SIZE", "Of a task")->default_str("256B");
  AddNumber(command, "--producers", &arguments.producers, 1, 1'000, "Connections that enqueue")->default_str("1");
}

void AddScenario(CLI::App& bench, Scenario scenario, const std::string& help, const std::string& examples,
                 Action* action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& command = AddCommand(bench, ToString(scenario), help, examples);
  BenchOptions shape;
  shape.scenario = scenario;
  if (scenario == Scenario::kIdle) {
    AddDuration(command, "--duration", &arguments->duration, "How long", absl::Milliseconds(100))->default_str("10s");
  } else {
    AddProducing(command, scenario, *arguments);
  }
  if (shape.HasWorkers()) {
    AddNumber(command, "--workers", &arguments->workers, 1, 1'000, "Connections that take tasks")->default_str("1");
    AddNumber(command, "--slots", &arguments->slots, 1, 1'000, "Tasks that a worker runs at once")->default_str("64");
  }
  // A worker takes from 1,000 queues at most.
  AddNumber(command, "--queues", &arguments->queues, 1, shape.HasWorkers() ? 1'000 : 100'000,
            "Spread the tasks over so many queues, whose names are numbered")
      ->default_str("1");
  command.add_flag("--relaxed", arguments->relaxed, "Acknowledge before fsync, which follows within 100 ms");
  AddDuration(command, "--retention", &arguments->retention,
              "How long results are kept, also after the benchmark; the broker's default otherwise");
  AddText(command, "--queue", &arguments->queue, "QUEUE", "The queue, which is made and deleted")
      ->default_str(BenchOptions().queue);
  command.add_flag("--force", arguments->force, "If the queue exists, delete it with everything in it");
  AddText(command, "--fsync-dir", &arguments->fsync_dir, "DIR",
          "Measure fdatasync there; name a folder on the data folder's disk")
      ->default_str("$TMPDIR or /tmp");
  command.callback([scenario, arguments, action] {
    *action = [scenario, arguments](CommandContext& context) { return Bench(context, scenario, *arguments); };
  });
}

}  // namespace

void AddBenchCommands(CLI::App& root, Action* action) {
  CLI::App& bench = AddCommand(root, "bench",
                               "Measures a broker, which it loads to the full (not one that others rely on): tasks a "
                               "second, latencies, its CPU time a task",
                               "penstock bench enqueue\n"
                               "penstock bench latency --rate 1000 --duration 30s");
  bench.require_subcommand(1);
  AddScenario(bench, Scenario::kEnqueue, "How fast tasks are stored",
              "penstock bench enqueue\n"
              "penstock bench enqueue --batch 100 --payload 4KiB\n"
              "penstock bench enqueue --callers 64   64 threads of one process, a task at a time each",
              action);
  AddScenario(bench, Scenario::kDrain, "How fast a backlog is worked off by handlers that do nothing",
              "penstock bench drain --tasks 1000000", action);
  AddScenario(bench, Scenario::kBoth, "Enqueuing and working at the same time",
              "penstock bench both\n"
              "penstock bench both --producers 32 --in-flight 32 --workers 32 --slots 1",
              action);
  AddScenario(bench, Scenario::kFill, "As enqueue, and leaves the queue as it is: a backlog to look at",
              "penstock bench fill --tasks 10000000 --batch 100\n"
              "penstock bench fill --tasks 1000000 --delay 1h --queues 100",
              action);
  AddScenario(bench, Scenario::kIdle, "What connected workers cost while there is nothing to do",
              "penstock bench idle --workers 1000 --slots 1", action);
  AddScenario(bench, Scenario::kLatency, "From enqueue to the handler's start, at a rate",
              "penstock bench latency\n"
              "penstock bench latency --rate 5000 --duration 1m -o json",
              action);
}

}  // namespace penstock::cli
