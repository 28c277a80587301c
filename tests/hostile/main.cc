// penstock-hostile: what careless and malicious clients do to a broker, with an honest client and worker measured
// beside them: these must go on, the broker must stay up and below its memory limit. docs/security.md has the figures.
//
//   penstock-hostile                     all attacks, 4 s each
//   penstock-hostile --seconds 60 flood  one of them, for longer

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "client/client.h"
#include "common/lock_checks.h"
#include "common/logging.h"
#include "fmt/format.h"
#include "tests/chaos/chaos_broker.h"
#include "tests/hostile/attacks.h"
#include "tests/support/temp_folder.h"
#include "worker/worker.h"

namespace penstock::hostile {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

// What the honest client saw in a stretch of time.
struct Honest {
  int done = 0;
  int failed = 0;
  absl::Duration p50;
  absl::Duration p99;
};

// Enqueues a task, waits for its result, and so on.
Honest Measure(Client& client, absl::Duration time) {
  Honest honest;
  std::vector<absl::Duration> latencies;
  const absl::Time begin = absl::Now();
  do {
    const absl::Time asked = absl::Now();
    const auto id = client.Enqueue("honest", "echo", "hello");
    const bool well = id.ok() && client.Wait<std::string>(*id, kPatience).value_or("") == "hello";
    ++(well ? honest.done : honest.failed);
    latencies.push_back(absl::Now() - asked);
  } while (absl::Now() - begin < time);
  std::sort(latencies.begin(), latencies.end());
  honest.p50 = latencies[latencies.size() / 2];
  honest.p99 = latencies[latencies.size() * 99 / 100];
  return honest;
}

uint64_t ResidentBytes(pid_t pid) {
  uint64_t pages = 0;
  std::ifstream(fmt::format("/proc/{}/statm", pid)) >> pages >> pages;
  return pages * 4'096;
}

int Main(int argc, char** argv) {
  TurnOffLockChecks();
  CLI::App app("Attacks a broker and measures an honest client beside.");
  double seconds = 4;
  uint64_t memory_mb = 1'024;
  std::vector<std::string> names;
  std::vector<std::string> without;
  app.add_option("--seconds", seconds, "of each attack")->capture_default_str();
  app.add_option("--memory", memory_mb, "the broker's limits.memory, in MiB")->capture_default_str();
  app.add_option("attacks", names, "only these");
  app.add_option("--without", without, "not these");
  CLI11_PARSE(app, argc, argv);
  if (absl::Status status = SetUpLogging({"error", "text", ""}); !status.ok()) return 2;
  // Each connection is a file here, too.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const std::string bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();

  bool all_well = true;
  fmt::print(
      "| attack | what it did | honest: round trips/s before | during | p99 during | after | broker's memory |\n"
      "|---|---|---|---|---|---|---|\n");
  for (const Attack& attack : Attacks()) {
    if (!names.empty() && std::find(names.begin(), names.end(), attack.name) == names.end()) continue;
    if (std::find(without.begin(), without.end(), attack.name) != without.end()) continue;
    const testing::TempFolder folder;
    chaos::ChaosBroker broker(bin, folder.path() + "/data", {"--limits.memory", fmt::format("{}MiB", memory_mb)});
    if (absl::Status status = broker.Start(); !status.ok()) {
      fmt::print("{}\n", std::string(status.message()));
      return 1;
    }
    ClientOptions client_options;
    client_options.broker = broker.address();
    client_options.timeout = kPatience;
    const auto client = Client::Connect(client_options).value();
    WorkerOptions options;
    options.broker = broker.address();
    options.queues = {"honest"};
    Worker worker(options);
    worker.RegisterRaw("echo", [](TaskContext&, std::string_view text) { return Outcome::Done(std::string(text)); });
    if (!worker.Start().ok()) return 1;

    const Honest before = Measure(*client, absl::Seconds(1));
    std::atomic<bool> stop = false;
    uint64_t memory = 0;
    std::string did;
    std::thread attacker([&] { did = attack.run({broker.port(), stop}); });
    std::thread watcher([&] {
      for (; !stop; absl::SleepFor(absl::Milliseconds(20))) memory = std::max(memory, ResidentBytes(broker.pid()));
    });
    const Honest during = Measure(*client, absl::Seconds(seconds));
    stop = true;
    attacker.join();
    watcher.join();
    const Honest after = Measure(*client, absl::Seconds(1));
    const bool up = broker.running();
    const bool well =
        up && during.failed == 0 && after.failed == 0 && during.done > 0 && memory <= memory_mb * 1'024 * 1'024;
    all_well = all_well && well;
    fmt::print("| {} | {}: {} | {} | {:.0f} | {:.1f} ms | {} | {} MiB{} |\n", attack.name, attack.what, did,
               before.done, during.done / seconds, absl::ToDoubleMilliseconds(during.p99), after.done, memory >> 20,
               well                               ? ""
               : !up                              ? ", **the broker ended**"
               : during.failed + after.failed > 0 ? ", **an honest call failed**"
                                                  : ", **over the limit, or nothing honest was done**");
    if (!up) fmt::print("{}\n", broker.output());
    std::fflush(stdout);
    worker.Stop();
  }
  return all_well ? 0 : 1;
}

}  // namespace
}  // namespace penstock::hostile

int main(int argc, char** argv) { return penstock::hostile::Main(argc, argv); }
