#include "client/cli/bench/consumers.h"

#include <algorithm>
#include <string_view>
#include <thread>
#include <utility>

#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

// Threads that stop workers at once: each waits for its broker's goodbye.
constexpr size_t kStoppers = 32;

}  // namespace

absl::Status Consumers::Start(const ClientOptions& connect, bool measure) {
  for (int i = 0; i < options_.workers; ++i) {
    WorkerOptions options;
    options.broker = connect.broker;
    options.ca_file = connect.ca_file;
    options.cert_file = connect.cert_file;
    options.key_file = connect.key_file;
    options.name = fmt::format("penstock-bench-{}", i + 1);
    for (uint64_t n = 0; n < static_cast<uint64_t>(options_.queues); ++n) {
      options.queues.push_back(options_.QueueName(n));
    }
    options.concurrency = options_.slots;
    workers_.push_back(std::make_unique<Worker>(std::move(options)));
    workers_.back()->RegisterRaw(kBenchType, [this, measure](TaskContext&, std::string_view payload) {
      if (measure) Measure(TimeIn(payload));
      ++handled_;
      return Outcome::Done();
    });
    RETURN_IF_ERROR(workers_.back()->Start());
  }
  return absl::OkStatus();
}

void Consumers::Stop() {
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(kStoppers, workers_.size()); ++i) {
    threads.emplace_back([&] {
      for (size_t n = next++; n < workers_.size(); n = next++) workers_[n]->Stop();
    });
  }
  for (std::thread& thread : threads) thread.join();
  workers_.clear();
}

void Consumers::BeginMeasuring() {
  MutexLock lock(mu_);
  starts_ = Histogram();
}

Histogram Consumers::starts() const {
  MutexLock lock(mu_);
  return starts_;
}

void Consumers::Measure(BenchClock::time_point due) {
  const absl::Duration latency = absl::FromChrono(BenchClock::now() - due);
  MutexLock lock(mu_);
  starts_.Add(latency);
}

}  // namespace penstock::cli
