// penstock-powerloss: power cuts by hand. Repeats what power_loss_test does in CI, for as long as wanted.
//
//   penstock-powerloss --count 10000            so many cuts
//   penstock-powerloss --minutes 20             for so long
//   penstock-powerloss --seed 7 --lives 1       one life again
//   penstock-powerloss --keep DIR               the folder of a failure is copied there

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "common/logging.h"
#include "fmt/format.h"
#include "tests/faults/power_loss_life.h"

int main(int argc, char** argv) {
  using penstock::broker::PowerLossCounts;
  using penstock::broker::PowerLossLife;
  CLI::App app("Cuts the power of a broker's store at random moments and looks at what is left.");
  uint64_t count = 500;
  uint64_t seed = 1;
  uint64_t lives = UINT64_MAX;
  double minutes = 0;
  int cuts_a_life = 12;
  std::string keep;
  app.add_option("--count", count, "Cuts in all");
  app.add_option("--seed", seed, "The first life's seed; each life has the next");
  app.add_option("--lives", lives, "Lives at most");
  app.add_option("--minutes", minutes, "For so long, however many cuts that is");
  app.add_option("--cuts-a-life", cuts_a_life, "Cuts of one data folder before it is drained");
  app.add_option("--keep", keep, "Copy the folder of a failure there");
  CLI11_PARSE(app, argc, argv);
  if (absl::Status status = penstock::SetUpLogging({"off", "text", ""}); !status.ok()) return 2;

  PowerLossCounts counts;
  const absl::Time begin = absl::Now();
  absl::Time told = begin;
  int exit_code = 0;
  auto wanted = [&] {
    if (counts.lives >= lives) return false;
    return minutes > 0 ? absl::Now() - begin < absl::Minutes(minutes) : counts.cuts < count;
  };
  auto tell = [&] {
    fmt::print(
        "lives={} cuts={} while_opening={} torn_tails={} torn_manifests={} tasks={} outcomes={} deliveries={} "
        "relaxed_undone={} s={:.0f}\n",
        counts.lives, counts.cuts, counts.cuts_while_opening, counts.tails_cut, counts.manifests_cut, counts.tasks,
        counts.outcomes, counts.deliveries, counts.relaxed_undone, absl::ToDoubleSeconds(absl::Now() - begin));
    std::fflush(stdout);
  };
  for (; wanted(); ++seed) {
    PowerLossLife life(seed, /*lying_disk=*/false);
    const std::string wrong = life.Run(cuts_a_life, &counts);
    if (!wrong.empty()) {
      fmt::print("FAILED: penstock-powerloss --seed {} --lives 1 --cuts-a-life {}\n{}\n", seed, cuts_a_life, wrong);
      if (!keep.empty()) {
        std::filesystem::copy(life.folder(), keep, std::filesystem::copy_options::recursive);
      }
      exit_code = 1;
      break;
    }
    if (absl::Now() - told > absl::Seconds(30)) {
      told = absl::Now();
      tell();
    }
  }
  tell();
  return exit_code;
}
