// penstock-chaos: real brokers, workers and producers, killed, stopped, cut off and slowed at random, and judged.
//
//   penstock-chaos --count 60                   so many faults, 15 a round
//   penstock-chaos --minutes 20                 rounds for so long
//   penstock-chaos --seed 7 --count 15          one round again: the same faults, though processes run as they like
//   penstock-chaos --keep DIR                   the files of a failed round are copied there
//   penstock-chaos --plant forget               with a mistake that must be found

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "common/lock_checks.h"
#include "common/logging.h"
#include "fmt/format.h"
#include "tests/chaos/chaos_round.h"
#include "tests/support/temp_folder.h"

namespace penstock::chaos {
namespace {

int Main(int argc, char** argv) {
  TurnOffLockChecks();
  CLI::App app("Runs real brokers, workers and producers with faults, and judges what they saw.");
  RoundOptions options;
  options.bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  int count = 60;
  double minutes = 0;
  std::string keep;
  std::string plant = "none";
  app.add_option("--count", count, "faults in all")->capture_default_str()->check(CLI::Range(1, 10'000'000));
  app.add_option("--seed", options.seed, "of the first round; each round has the next")->capture_default_str();
  app.add_option("--minutes", minutes, "for so long, however many faults that is");
  app.add_option("--faults-a-round", options.faults)->capture_default_str()->check(CLI::Range(1, 1'000));
  app.add_option("--workers", options.workers)->capture_default_str()->check(CLI::Range(1, 100));
  app.add_option("--producers", options.producers)->capture_default_str()->check(CLI::Range(1, 100));
  app.add_option("--rate", options.calls_per_second, "enqueue calls of a producer a second")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  app.add_option("--keep", keep, "the files of a failed round are copied there");
  app.add_option("--plant", plant, "a mistake that must be found: lie, forget")
      ->check(CLI::IsMember({"none", "lie", "forget"}));
  CLI11_PARSE(app, argc, argv);
  options.plant = plant == "lie" ? Plant::kLie : plant == "forget" ? Plant::kForget : Plant::kNone;
  if (absl::Status status = SetUpLogging({"error", "text", ""}); !status.ok()) return 2;

  const absl::Time begin = absl::Now();
  std::map<std::string, int> faults;
  RoundResult totals;
  int rounds = 0, made = 0;
  bool passed = true;
  while (passed && (minutes > 0 ? absl::Now() - begin < absl::Minutes(minutes) : made < count)) {
    const testing::TempFolder folder;
    options.folder = folder.path();
    const RoundResult result = ChaosRound(options).Run();
    passed = result.passed;
    ++rounds;
    made += options.faults;
    for (const auto& [fault, times] : result.faults) faults[fault] += times;
    totals.tasks += result.tasks;
    totals.completions += result.completions;
    totals.deliveries += result.deliveries;
    totals.redeliveries += result.redeliveries;
    totals.refusals += result.refusals;
    if (!passed) {
      fmt::print("FAILED: penstock-chaos --seed {} --count {} --faults-a-round {}\n{}\n", options.seed, options.faults,
                 options.faults, result.report);
      if (!keep.empty()) {
        std::filesystem::copy(folder.path(), keep, std::filesystem::copy_options::recursive);
        fmt::print("its files: {}\n", keep);
      }
    }
    ++options.seed;
  }
  fmt::print("rounds={} faults={} tasks={} deliveries={} redeliveries={} completions={} refusals={} s={:.0f}\n", rounds,
             made, totals.tasks, totals.deliveries, totals.redeliveries, totals.completions, totals.refusals,
             absl::ToDoubleSeconds(absl::Now() - begin));
  for (const auto& [fault, times] : faults) fmt::print("{:>6}  {}\n", times, fault);
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace penstock::chaos

int main(int argc, char** argv) { return penstock::chaos::Main(argc, argv); }
