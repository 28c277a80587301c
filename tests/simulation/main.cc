// penstock-sim: runs worlds in virtual time and judges them. docs/reliability.md says how it is used.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "common/logging.h"
#include "common/mutex.h"
#include "fmt/format.h"
#include "tests/simulation/shrink.h"
#include "tests/simulation/sim_world.h"

namespace penstock::broker {
namespace {

struct Arguments {
  uint64_t seed = 0;
  uint64_t seeds = 1'000;
  uint64_t first = 1;
  double hours = 0;
  double seconds = 0;
  int jobs = 1;
  bool shrink = false;
  bool coverage = false;
  bool keep_going = false;
  std::string without;
  std::string history;
  int producers = 0;
  int workers = 0;
  uint64_t events = 0;
  uint64_t coverage_from = 2'000;
};

SimConfig ConfigFor(const Arguments& arguments, uint64_t seed) {
  SimConfig config = DrawConfig(seed);
  for (size_t begin = 0; begin < arguments.without.size();) {
    const size_t end = std::min(arguments.without.find(',', begin), arguments.without.size());
    const std::string name = arguments.without.substr(begin, end - begin);
    if (!DropByName(name, &config)) fmt::print(stderr, "there is no feature {}\n", name);
    begin = end + 1;
  }
  if (arguments.producers > 0) config.producers = arguments.producers;
  if (arguments.workers > 0) config.workers = arguments.workers;
  if (arguments.events > 0) config.events = arguments.events;
  return config;
}

void PrintProblems(const SimWorld& world) {
  size_t shown = 0;
  for (const SimProblem& problem : world.problems()) {
    if (++shown > 5) break;
    fmt::print("  {}: {}\n", problem.rule, problem.what);
  }
}

void PrintShrunk(const SimConfig& config) {
  SimWorld first(config);
  first.Run();
  if (first.problems().empty()) return;
  const std::string rule = first.problems().front().rule;
  const SimConfig small = Shrink(config, [&](const SimConfig& candidate) {
    SimWorld world(candidate);
    world.Run();
    return !world.problems().empty() && world.problems().front().rule == rule;
  });
  SimWorld world(small, true);
  world.Run();
  fmt::print("shrunk to: penstock-sim {}  ({} events)\n", CommandLine(small), world.events());
  PrintProblems(world);
  fmt::print("what reached the core, as a scenario (tests/scenario):\n{}", world.Script(40));
}

int RunOneSeed(const Arguments& arguments) {
  const SimConfig config = ConfigFor(arguments, arguments.seed);
  SimWorld world(config, true);
  world.Run();
  fmt::print("seed={} trace={:016x} events={} virtual={}s history={} problems={}\n", config.seed, world.trace_hash(),
             world.events(), world.span() / kSecond, world.history().size(), world.problems().size());
  PrintProblems(world);
  if (!arguments.history.empty()) {
    std::ofstream out(arguments.history, std::ios::binary);
    histcheck::Write(world.history(), out);
  }
  if (!world.problems().empty() && arguments.shrink) PrintShrunk(config);
  return world.problems().empty() ? 0 : 1;
}

// Totals of all threads.
struct Totals {
  Mutex mu;
  Coverage coverage ABSL_GUARDED_BY(mu) = {};
  uint64_t seeds ABSL_GUARDED_BY(mu) = 0;
  uint64_t events ABSL_GUARDED_BY(mu) = 0;
  uint64_t lines ABSL_GUARDED_BY(mu) = 0;
  uint64_t virtual_seconds ABSL_GUARDED_BY(mu) = 0;
  std::vector<uint64_t> failed ABSL_GUARDED_BY(mu);
};

void RunSeeds(const Arguments& arguments, std::atomic<uint64_t>* next, std::atomic<bool>* stop, Totals* totals) {
  const auto begin = std::chrono::steady_clock::now();
  const double most = arguments.hours > 0 ? arguments.hours * 3600 : arguments.seconds;
  while (!*stop) {
    if (most > 0 && std::chrono::steady_clock::now() - begin > std::chrono::duration<double>(most)) return;
    const uint64_t seed = (*next)++;
    if (arguments.hours <= 0 && seed >= arguments.first + arguments.seeds) return;
    SimWorld world(ConfigFor(arguments, seed));
    world.Run();
    MutexLock lock(totals->mu);
    ++totals->seeds;
    totals->events += world.events();
    totals->lines += world.history().size();
    totals->virtual_seconds += static_cast<uint64_t>(world.span() / kSecond);
    for (size_t i = 0; i < kPoints; ++i) totals->coverage[i] += world.coverage()[i];
    if (world.problems().empty()) continue;
    totals->failed.push_back(seed);
    fmt::print("FAILED: penstock-sim {}\n", CommandLine(ConfigFor(arguments, seed)));
    PrintProblems(world);
    std::fflush(stdout);
    if (!arguments.keep_going) *stop = true;
  }
}

int RunManySeeds(const Arguments& arguments) {
  std::atomic<uint64_t> next = arguments.first;
  std::atomic<bool> stop = false;
  Totals totals;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < arguments.jobs; ++i) {
    threads.emplace_back([&] { RunSeeds(arguments, &next, &stop, &totals); });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  MutexLock lock(totals.mu);
  fmt::print("seeds={} failed={} events={} history_lines={} virtual_hours={:.0f} seconds={:.0f} events/s={:.0f}\n",
             totals.seeds, totals.failed.size(), totals.events, totals.lines,
             static_cast<double>(totals.virtual_seconds) / 3600, seconds, static_cast<double>(totals.events) / seconds);
  int missing = 0;
  for (size_t i = 0; i < kPoints; ++i) {
    if (arguments.coverage) fmt::print("{:>12}  {}\n", totals.coverage[i], NameOf(static_cast<Point>(i)));
    if (totals.coverage[i] > 0 || totals.seeds < arguments.coverage_from) continue;
    ++missing;
    fmt::print("NEVER REACHED: {}\n", NameOf(static_cast<Point>(i)));
  }
  if (!totals.failed.empty() && arguments.shrink) PrintShrunk(ConfigFor(arguments, totals.failed.front()));
  return totals.failed.empty() && missing == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Runs a broker, its workers and its clients in virtual time, with faults, and judges what they saw.");
  app.add_option("--seed", arguments.seed, "one world, by its seed");
  app.add_option("--seeds", arguments.seeds, "so many worlds")->capture_default_str();
  app.add_option("--first", arguments.first, "the first of their seeds")->capture_default_str();
  app.add_option("--hours", arguments.hours, "worlds for so long, instead of a number of them");
  app.add_option("--seconds", arguments.seconds, "with --seeds: begin no more worlds after so long");
  app.add_option("--jobs", arguments.jobs, "threads")->capture_default_str();
  app.add_flag("--shrink", arguments.shrink, "shrink what fails, and print it as a script");
  app.add_flag("--coverage", arguments.coverage, "print how often each point was reached");
  app.add_option("--coverage-from", arguments.coverage_from, "a point that so many worlds never reach is a failure")
      ->capture_default_str();
  app.add_flag("--keep-going", arguments.keep_going, "do not end at the first failure");
  app.add_option("--without", arguments.without, "features to leave out, separated by commas");
  app.add_option("--producers", arguments.producers, "instead of what the seed draws");
  app.add_option("--workers", arguments.workers, "instead of what the seed draws");
  app.add_option("--events", arguments.events, "of the safety phase, instead of what the seed draws");
  app.add_option("--history", arguments.history, "with --seed: writes what was seen, for penstock-histcheck");
  CLI11_PARSE(app, argc, argv);
  if (absl::Status status = SetUpLogging({.level = "off", .format = "text", .file = ""}); !status.ok()) return 2;
  return arguments.seed != 0 ? RunOneSeed(arguments) : RunManySeeds(arguments);
}

}  // namespace
}  // namespace penstock::broker

int main(int argc, char** argv) { return penstock::broker::Main(argc, argv); }
