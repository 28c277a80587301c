// penstock-faults: crashes, errors and flipped bits by hand. Repeats what crash_test, io_error_test and flip_test do in
// CI, for as many points as wanted.
//
//   penstock-faults --crash --count 1000        brokers that die at a call
//   penstock-faults --errors --every            calls that fail: each call of each scenario in each mode
//   penstock-faults --flips --count 1000        flipped bits in every kind of file
//   penstock-faults --scenario again --mode eio --at 17 --seed 1                     one point again
//   penstock-faults --flips --scenario killed --file db/CURRENT --byte 3 --bit 5     one flip again

#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "common/logging.h"
#include "fmt/format.h"
#include "tests/faults/fault_points.h"
#include "tests/faults/flips.h"

namespace {

using namespace penstock::broker;  // NOLINT(google-build-using-namespace)

std::string Lines(const std::map<std::string, uint64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts) text += fmt::format("  {:<40} {:>8}\n", name, count);
  return text;
}

// Tells how far it is, now and then.
class Teller {
 public:
  void Tell(uint64_t done, uint64_t of) {
    if (absl::Now() - last_ < absl::Seconds(30)) return;
    last_ = absl::Now();
    fmt::print("{} of {} points, {:.0f} s\n", done, of, seconds());
    std::fflush(stdout);
  }
  double seconds() const { return absl::ToDoubleSeconds(absl::Now() - begin_); }

 private:
  const absl::Time begin_ = absl::Now();
  absl::Time last_ = begin_;
};

template <class Scenario>
bool MakeScenarios(const std::vector<std::string>& names, uint64_t seed,
                   std::vector<std::unique_ptr<Scenario>>* scenarios) {
  for (const std::string& name : names) {
    std::unique_ptr<Scenario> scenario;
    if (const std::string wrong = Scenario::Make(name, seed, &scenario); !wrong.empty()) {
      fmt::print("scenario {}: {}\n", name, wrong);
      return false;
    }
    scenarios->push_back(std::move(scenario));
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Lets the files of real brokers fail at chosen calls, or flips bits in them, and judges what follows.");
  bool crash = false;
  bool errors = false;
  bool flips = false;
  bool every = false;
  bool keep_going = false;
  uint64_t count = 200;
  uint64_t seed = 1;
  int jobs = 4;
  std::vector<std::string> scenario_names;
  std::vector<std::string> mode_names;
  uint64_t at = 0;
  std::string only;
  std::string file;
  uint64_t byte = 0;
  int bit = 0;
  app.add_flag("--crash", crash, "The process dies at a call: killed, in the middle of a write, or with the power");
  app.add_flag("--errors", errors, "A call fails: EIO, ENOSPC, EROFS, EDQUOT, short writes; once or lastingly");
  app.add_flag("--flips", flips, "A bit is flipped in a file of a broker that has ended");
  app.add_option("--count", count, "So many points, spread over scenarios, modes and calls");
  app.add_flag("--every", every, "All of them");
  app.add_flag("--keep-going", keep_going, "Do not stop at the first point that is wrong");
  app.add_option("--seed", seed, "Of the choice, and of what clients send");
  app.add_option("--jobs", jobs, "Brokers at a time");
  app.add_option("--scenario", scenario_names, "Only these: first, again, busy; of flips: killed, stopped, backup");
  app.add_option("--mode", mode_names, "Only these modes, for instance eio or enospc-lasting");
  app.add_option("--at", at, "Only this call of --scenario in --mode");
  app.add_option("--only", only, "Of --at: count only calls with this in their text, for instance 'fdatasync 0'");
  app.add_option("--file", file, "Of --flips: only this file of --scenario, with --byte and --bit");
  app.add_option("--byte", byte, "Of --file");
  app.add_option("--bit", bit, "Of --byte, 0 to 7");
  CLI11_PARSE(app, argc, argv);
  if (absl::Status status = penstock::SetUpLogging({"off", "text", ""}); !status.ok()) return 2;
  Teller teller;
  std::string wrong;

  if (flips) {
    std::vector<std::unique_ptr<FlipScenario>> scenarios;
    if (!MakeScenarios(scenario_names.empty() ? FlipScenario::Names() : scenario_names, seed, &scenarios)) return 2;
    std::vector<Flip> chosen;
    if (file.empty()) {
      chosen = ChooseFlips(scenarios, every ? 0 : count, seed);
    } else {
      for (const FlipScenario::File& known : scenarios[0]->files()) {
        if (known.name == file) chosen.push_back({scenarios[0].get(), &known, byte, bit});
      }
      if (chosen.empty()) {
        fmt::print("scenario {} has no file {}\n", scenarios[0]->name(), file);
        return 2;
      }
    }
    FlipCounts counts;
    wrong = RunFlips(chosen, seed, jobs, keep_going, &counts,
                     [&](const FlipCounts& now) { teller.Tell(now.flips, chosen.size()); });
    fmt::print("{}\nflips={} seed={} s={:.0f}\nby file:\n{}by verdict:\n{}", wrong, counts.flips, seed,
               teller.seconds(), Lines(counts.by_kind), Lines(counts.by_end));
    return wrong.empty() ? 0 : 1;
  }

  std::vector<FaultMode> modes;
  for (const std::string& name : mode_names) {
    const FaultMode* const mode = FindMode(name);
    if (mode == nullptr) {
      fmt::print("there is no mode {}\n", name);
      return 2;
    }
    modes.push_back(*mode);
  }
  if (modes.empty() && crash) modes = CrashModes();
  if (modes.empty() && errors) modes = ErrorModes();
  if (modes.empty()) {
    fmt::print("one of --crash, --errors, --flips or --mode is needed; see --help\n");
    return 2;
  }
  std::vector<std::unique_ptr<FaultScenario>> scenarios;
  if (!MakeScenarios(scenario_names.empty() ? FaultScenario::Names() : scenario_names, seed, &scenarios)) return 2;
  std::vector<FaultPoint> points;
  if (at > 0) {
    points.push_back({scenarios[0].get(), modes.data(), at, seed, only});
  } else {
    points = ChoosePoints(scenarios, modes, every ? 0 : count, seed);
  }
  FaultCounts counts;
  wrong = RunPoints(points, jobs, keep_going, &counts,
                    [&](const FaultCounts& now) { teller.Tell(now.points, points.size()); });
  std::string calls;
  for (const auto& scenario : scenarios) {
    calls += fmt::format("  {:<40} {:>8} that change, {} that read\n", scenario->name(),
                         scenario->CallsOf(penstock::testing::kChanges), scenario->CallsOf(penstock::testing::kReads));
  }
  fmt::print("{}\npoints={} seed={} tasks={} completed={} s={:.0f}\ncalls:\n{}by mode:\n{}by end:\n{}", wrong,
             counts.points, seed, counts.tasks, counts.completed, teller.seconds(), calls, Lines(counts.by_mode),
             Lines(counts.by_end));
  return wrong.empty() ? 0 : 1;
}
