// penstock-overload: what a broker does with three times the work that it can do. A real broker on a slow disk, whose
// capacity is measured first; then producers who offer three times as much, however they fare, with a worker beside
// them. docs/reliability.md has the figures and says what must hold.
//
//   penstock-overload                        all scenarios, 10 s each
//   penstock-overload --seconds 60 unary     one of them, for longer

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "common/lock_checks.h"
#include "common/logging.h"
#include "fmt/format.h"
#include "grpcpp/grpcpp.h"
#include "penstock/v1/admin_service.grpc.pb.h"
#include "tests/overload/honest_worker.h"
#include "tests/overload/ledger.h"
#include "tests/overload/load.h"
#include "tests/overload/slow_broker.h"

namespace penstock::overload {
namespace {

// Goodput under overload, as a part of the peak, must be so much.
constexpr double kGoodputMin = 0.8;
constexpr double kTimesCapacity = 3;
// So many calls in a row, one at a time, must be taken after the load.
constexpr int kLightCalls = 20;

struct Scenario {
  std::string name;
  std::string what;
  Disk disk;
  size_t payload_bytes = 0;
  absl::Duration deadline;
  size_t window = 0;  // calls under way that keep the disk busy
  bool library = false;
};

std::vector<Scenario> Scenarios() {
  return {
      {"unary", "patient callers, 4 KiB each", {absl::Milliseconds(10), 4 << 20}, 4 << 10, absl::Seconds(30), 600},
      {"hasty", "callers who wait for 1 s, 4 KiB", {absl::Milliseconds(10), 4 << 20}, 4 << 10, absl::Seconds(1), 200},
      {"large", "payloads of 1 MiB, the limit", {absl::Milliseconds(10), 16 << 20}, 1 << 20, absl::Seconds(30), 6},
      {"library",
       "16 clients of the library, 4 KiB",
       {absl::Milliseconds(10), 4 << 20},
       4 << 10,
       absl::Seconds(5),
       600,
       true},
  };
}

template <class Value>
Value Percentile(std::vector<Value> values, size_t percent) {
  if (values.empty()) return Value();
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, values.size() * percent / 100)];
}

// The median of whole seconds: a moment in which this machine did something else does not count.
double PerSecond(const Ledger::Stretch& stretch, size_t seconds) {
  std::vector<uint64_t> whole = stretch.taken_by_second;
  whole.resize(seconds);
  return static_cast<double>(Percentile(std::move(whole), 50));
}

std::string Milliseconds(absl::Duration duration) {
  return fmt::format("{:.0f} ms", absl::ToDoubleMilliseconds(duration));
}

absl::StatusOr<v1::QueueStats> AskForStats(const std::string& address) {
  auto stub = v1::AdminService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::GetQueueRequest request;
  request.set_name(kQueue);
  v1::GetQueueResponse response;
  if (grpc::Status status = stub->GetQueue(&context, request, &response); !status.ok()) {
    return absl::InternalError("GetQueue: " + status.error_message());
  }
  return response.queue().stats();
}

// A row of the table, and what was wrong, if anything.
std::string Run(const Scenario& scenario, size_t seconds, std::string* row) {
  auto started = SlowBroker::Start(scenario.disk);
  if (!started.ok()) return std::string(started.status().message());
  SlowBroker& broker = **started;
  Ledger ledger;
  auto load = scenario.library ? LibraryLoad(broker.address(), ledger, scenario.payload_bytes, scenario.deadline)
                               : UnaryLoad(broker.address(), ledger, scenario.payload_bytes, scenario.deadline);
  // The queue and its worker come before the measurement.
  for (absl::Status status = load->One(); !status.ok(); status = load->One()) {
  }
  auto worker = std::make_unique<HonestWorker>(broker.address(), ledger);

  // What it can do. The first second fills the pipes.
  const size_t peak_seconds = std::max<size_t>(4, seconds / 4);
  load->Closed(scenario.window, absl::Seconds(1));
  ledger.Begin();
  load->Closed(scenario.window, absl::Seconds(peak_seconds));
  const Ledger::Stretch calm = ledger.Seen();
  load->AwaitAnswers();
  ledger.AwaitCompleted();
  const double peak = PerSecond(calm, peak_seconds);
  if (peak == 0) return "nothing was taken in the calm\n" + ledger.Problems() + broker.output();

  ledger.Begin();
  load->Open(peak * kTimesCapacity, absl::Seconds(seconds));
  const Ledger::Stretch busy = ledger.Seen();
  const absl::Time end = absl::Now();
  // A light load is taken as soon as there is room. No limit: it is the event that counts.
  absl::Time recovered = end;
  for (int in_a_row = 0; in_a_row < kLightCalls && broker.running();) {
    const absl::Time asked = absl::Now();
    if (load->One().ok()) {
      if (in_a_row++ == 0) recovered = asked;
    } else {
      in_a_row = 0;
      absl::SleepFor(absl::Milliseconds(10));  // a light load
    }
  }
  load->AwaitAnswers();
  const absl::Time answered = absl::Now();
  ledger.AwaitCompleted();

  std::string wrong = ledger.Problems();
  if (!broker.running()) return wrong + "the broker ended:\n" + broker.output();
  const auto stats = AskForStats(broker.address());
  if (!stats.ok()) {
    wrong += std::string(stats.status().message()) + "\n";
  } else if (stats->dead() + stats->retryable() + stats->scheduled() > 0 ||
             stats->completed_total() + stats->available() + stats->running() != stats->enqueued_total()) {
    wrong += "the broker counts otherwise: " + stats->ShortDebugString() + "\n";
  }
  worker.reset();
  const double goodput = PerSecond(busy, seconds);
  if (goodput < kGoodputMin * peak)
    wrong += fmt::format("goodput fell to {:.0f} % of the peak\n", 100 * goodput / peak);
  if (!scenario.library && busy.refused == 0) wrong += "nothing was refused: this was no overload\n";
  if (broker.memory_max() > SlowBroker::kMemoryLimit) wrong += "the broker took more memory than it may\n";
  const uint64_t all = busy.taken + busy.refused + busy.late;
  *row = fmt::format(
      "| {}: {} | {:.0f} | {:.0f} | {:.0f} ({:.0f} %) | {:.0f} % | {} | {} | {} | {} | {} / {} | {} | {} | {} MiB |\n",
      scenario.name, scenario.what, peak, peak * kTimesCapacity, goodput, 100 * goodput / peak,
      all == 0 ? 0.0 : 100.0 * static_cast<double>(busy.refused) / static_cast<double>(all),
      Milliseconds(Percentile(busy.refused_latencies, 50)), Milliseconds(Percentile(busy.refused_latencies, 99)),
      Milliseconds(Percentile(busy.retry_delays, 50)), busy.late, Milliseconds(Percentile(calm.taken_latencies, 99)),
      Milliseconds(Percentile(busy.taken_latencies, 99)), Milliseconds(Percentile(busy.completion_latencies, 99)),
      Milliseconds(recovered - end) + " / " + Milliseconds(answered - end), broker.memory_max() >> 20);
  return wrong;
}

int Main(int argc, char** argv) {
  TurnOffLockChecks();
  CLI::App app("Offers a broker three times what it can do.");
  size_t seconds = 10;
  std::vector<std::string> names;
  app.add_option("--seconds", seconds, "of the overload of each scenario")
      ->capture_default_str()
      ->check(CLI::Range(2, 3'600));
  app.add_option("scenarios", names, "only these");
  CLI11_PARSE(app, argc, argv);
  if (absl::Status status = SetUpLogging({"error", "text", ""}); !status.ok()) return 2;
  fmt::print(
      "| load | peak/s | offered/s | taken/s (of peak) | refused | until refused p50 | p99 | to come again in | too "
      "late "
      "| taken p99 calm / overload | completion p99 | taken again / all answered after | memory |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  bool all_well = true;
  for (const Scenario& scenario : Scenarios()) {
    if (!names.empty() && std::find(names.begin(), names.end(), scenario.name) == names.end()) continue;
    std::string row;
    const std::string wrong = Run(scenario, seconds, &row);
    fmt::print("{}", row);
    if (!wrong.empty()) fmt::print("{} is not well:\n{}", scenario.name, wrong);
    std::fflush(stdout);
    all_well = all_well && wrong.empty();
  }
  return all_well ? 0 : 1;
}

}  // namespace
}  // namespace penstock::overload

int main(int argc, char** argv) { return penstock::overload::Main(argc, argv); }
