#include "client/cli/bench/bench_run.h"

#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/cli/bench/bench_queue.h"
#include "client/cli/bench/consumers.h"
#include "client/cli/bench/interrupt.h"
#include "client/cli/bench/producer.h"
#include "client/cli/connection.h"
#include "client/cli/output.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ostream.h"

namespace penstock::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(200);
constexpr absl::Duration kLook = absl::Milliseconds(2);
// Tasks before the measured ones of a latency run: connections, caches and threads are warm then.
constexpr uint64_t kWarmUp = 50;

class BenchRun {
 public:
  BenchRun(CommandContext& context, Connection& broker, const BenchOptions& options)
      : context_(context), options_(options), queue_(broker, options), consumers_(options) {
    result_.options = options;
  }

  absl::StatusOr<BenchResult> Run() {
    RETURN_IF_ERROR(queue_.Make());
    absl::Status status = Measure();
    Clear();
    consumers_.Stop();
    producers_.clear();
    if (Interrupt::number() != 0) status = absl::CancelledError("interrupted");
    // What was filled in is what the user wants to have.
    if (!status.ok() || options_.scenario != Scenario::kFill) {
      const absl::Status removed = queue_.Remove();
      if (status.ok()) status = removed;
    }
    if (!status.ok()) return status;
    return std::move(result_);
  }

 private:
  absl::Status Measure() {
    RETURN_IF_ERROR(LookAtMachine());
    for (int i = 0; i < options_.producers; ++i) {
      ASSIGN_OR_RETURN(std::unique_ptr<Client> client, Client::Connect(context_.MakeClientOptions()));
      producers_.push_back(std::make_unique<Producer>(std::move(client), options_));
    }
    switch (options_.scenario) {
      case Scenario::kEnqueue:
      case Scenario::kFill:
        return MeasureEnqueue();
      case Scenario::kDrain:
        return MeasureDrain();
      case Scenario::kBoth:
        return MeasureBoth();
      case Scenario::kLatency:
        return MeasureLatency();
      case Scenario::kIdle:
        return MeasureIdle();
    }
    return absl::InternalError("no such scenario");
  }

  absl::Status MeasureEnqueue() {
    RETURN_IF_ERROR(Begin());
    RETURN_IF_ERROR(Produce("enqueued"));
    return End();
  }

  absl::Status MeasureDrain() {
    RETURN_IF_ERROR(queue_.Pause());
    RETURN_IF_ERROR(Produce("filled in"));
    RETURN_IF_ERROR(StartConsumers(false));
    RETURN_IF_ERROR(Begin());
    RETURN_IF_ERROR(queue_.Resume());
    RETURN_IF_ERROR(AwaitCompleted(options_.tasks));
    return End();
  }

  absl::Status MeasureBoth() {
    RETURN_IF_ERROR(StartConsumers(false));
    RETURN_IF_ERROR(Begin());
    RETURN_IF_ERROR(Produce("enqueued"));
    RETURN_IF_ERROR(AwaitCompleted(options_.tasks));
    return End();
  }

  absl::Status MeasureLatency() {
    RETURN_IF_ERROR(StartConsumers(true));
    // Sleeps end within microseconds of their time, not within the 50 that are usual.
    prctl(PR_SET_TIMERSLACK, 1'000UL);
    {
      ASSIGN_OR_RETURN(std::unique_ptr<Client> client, Client::Connect(context_.MakeClientOptions()));
      Producer warm_up(std::move(client), options_);
      RETURN_IF_ERROR(warm_up.ProduceAtRate(kWarmUp, options_.rate));
    }
    RETURN_IF_ERROR(AwaitCompleted(kWarmUp));
    consumers_.BeginMeasuring();
    RETURN_IF_ERROR(Begin());
    RETURN_IF_ERROR(ProduceBy("enqueued", [&](Producer& producer, uint64_t count) {
      return producer.ProduceAtRate(count, options_.rate / options_.producers);
    }));
    RETURN_IF_ERROR(AwaitCompleted(kWarmUp + options_.tasks));
    RETURN_IF_ERROR(End());
    result_.start = consumers_.starts();
    return absl::OkStatus();
  }

  absl::Status MeasureIdle() {
    ASSIGN_OR_RETURN(const BrokerUsage before, queue_.Usage());
    RETURN_IF_ERROR(StartConsumers(false));
    RETURN_IF_ERROR(Begin());
    const BenchClock::time_point end = began_ + absl::ToChronoNanoseconds(options_.duration);
    while (BenchClock::now() < end) {
      if (Interrupt::number() != 0) return absl::CancelledError("interrupted");
      absl::SleepFor(std::min(kRedraw, absl::FromChrono(end - BenchClock::now())));
    }
    RETURN_IF_ERROR(End());
    result_.memory_before = before.memory_bytes;
    return absl::OkStatus();
  }

  absl::Status LookAtMachine() {
    Machine& machine = result_.machine;
    machine.cores = static_cast<int>(std::thread::hardware_concurrency());
    machine.fsync_dir = options_.fsync_dir;
    if (machine.fsync_dir.empty()) {
      const char* folder = std::getenv("TMPDIR");
      machine.fsync_dir = folder != nullptr && *folder != '\0' ? folder : "/tmp";
    }
    ASSIGN_OR_RETURN(machine.fdatasync, MeasureFdatasync(machine.fsync_dir));
    ASSIGN_OR_RETURN(machine.round_trip, queue_.MeasureRoundTrip());
    ASSIGN_OR_RETURN(result_.broker_version, queue_.BrokerVersion());
    return absl::OkStatus();
  }

  absl::Status StartConsumers(bool measure) {
    RETURN_IF_ERROR(consumers_.Start(context_.MakeClientOptions(), measure));
    while (Interrupt::number() == 0) {
      ASSIGN_OR_RETURN(const bool connected, queue_.WorkersConnected(options_.workers));
      if (connected) return absl::OkStatus();
      absl::SleepFor(absl::Milliseconds(10));
    }
    return absl::CancelledError("interrupted");
  }

  absl::Status Begin() {
    ASSIGN_OR_RETURN(usage_before_, queue_.Usage());
    own_before_ = OwnCpu();
    began_ = BenchClock::now();
    return absl::OkStatus();
  }

  absl::Status End() {
    result_.elapsed = absl::FromChrono(BenchClock::now() - began_);
    result_.own_cpu = OwnCpu() - own_before_;
    ASSIGN_OR_RETURN(const BrokerUsage after, queue_.Usage());
    result_.broker = {after.cpu - usage_before_.cpu, after.commits - usage_before_.commits,
                      after.syncs - usage_before_.syncs, after.written_bytes - usage_before_.written_bytes,
                      after.memory_bytes};
    result_.tasks = options_.tasks;
    for (const auto& producer : producers_) result_.enqueue.Add(producer->latencies());
    return absl::OkStatus();
  }

  absl::Status Produce(std::string_view what) {
    const int in_flight = std::max(1, options_.in_flight / options_.producers);
    return ProduceBy(what, [&](Producer& producer, uint64_t count) { return producer.Produce(count, in_flight); });
  }

  // Lets every producer do its part, each on a thread.
  absl::Status ProduceBy(std::string_view what, const std::function<absl::Status(Producer&, uint64_t)>& produce) {
    const auto producers = static_cast<uint64_t>(options_.producers);
    std::vector<absl::Status> statuses(producers);
    std::atomic<uint64_t> left = producers;
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < producers; ++i) {
      const uint64_t count = options_.tasks / producers + (i < options_.tasks % producers ? 1 : 0);
      threads.emplace_back([&, i, count] {
        statuses[i] = produce(*producers_[i], count);
        --left;
        left.notify_one();
      });
    }
    if (context_.console.err_is_terminal) {
      while (left > 0) {
        absl::SleepFor(kLook);
        uint64_t acknowledged = 0;
        for (const auto& producer : producers_) acknowledged += producer->acknowledged();
        Draw(what, acknowledged);
      }
    }
    for (std::thread& thread : threads) thread.join();
    for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
    return Interrupt::number() == 0 ? absl::OkStatus() : absl::CancelledError("interrupted");
  }

  absl::Status AwaitCompleted(uint64_t count) {
    while (Interrupt::number() == 0) {
      // Asking costs the broker something: not before the handlers have seen all.
      if (consumers_.handled() >= count) {
        ASSIGN_OR_RETURN(const uint64_t completed, queue_.Completed());
        if (completed >= count) return absl::OkStatus();
      }
      absl::SleepFor(kLook);
      Draw("handled", consumers_.handled());
    }
    return absl::CancelledError("interrupted");
  }

  // A line on a terminal that is drawn over and over.
  void Draw(std::string_view what, uint64_t count) {
    Console& console = context_.console;
    if (!console.err_is_terminal || absl::Now() - drawn_ < kRedraw) return;
    drawn_ = absl::Now();
    fmt::print(console.err, "\r\x1b[K{} of {} tasks {}", FormatCount(count), FormatCount(options_.tasks), what);
    console.err.flush();
  }
  void Clear() {
    if (drawn_ != absl::InfinitePast()) context_.console.err << "\r\x1b[K" << std::flush;
  }

  CommandContext& context_;
  const BenchOptions& options_;
  BenchQueue queue_;
  BenchResult result_;
  BrokerUsage usage_before_;
  absl::Duration own_before_;
  BenchClock::time_point began_;
  absl::Time drawn_ = absl::InfinitePast();
  std::vector<std::unique_ptr<Producer>> producers_;
  Consumers consumers_;
};

}  // namespace

absl::StatusOr<BenchResult> RunBench(CommandContext& context, const BenchOptions& options) {
  const Interrupt interrupt;
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  return BenchRun(context, *broker, options).Run();
}

}  // namespace penstock::cli
