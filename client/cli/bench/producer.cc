#include "client/cli/bench/producer.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "client/cli/bench/interrupt.h"

namespace penstock::cli {

namespace {

// Bytes that no compression makes smaller, as a measurement should assume: the next piece of a random text, which comes
// again only after 4 MiB.
std::string_view Noise(size_t bytes) {
  constexpr size_t kTurn = size_t{4} << 20;
  constexpr size_t kLongest = size_t{16} << 20;
  static const std::string* const noise = [] {
    auto* text = new std::string(kTurn + kLongest, '\0');
    std::mt19937_64 random(1);  // the same for every run
    for (size_t i = 0; i + 8 <= text->size(); i += 8) {
      const uint64_t word = random();
      std::memcpy(text->data() + i, &word, sizeof(word));
    }
    return text;
  }();
  static thread_local size_t begin = 0;
  begin = (begin + bytes) % kTurn;
  return std::string_view(*noise).substr(begin, bytes);
}

}  // namespace

std::string MakePayload(size_t bytes, BenchClock::time_point due) {
  std::string payload(Noise(bytes));
  const int64_t ticks = due.time_since_epoch().count();
  if (bytes >= sizeof(ticks)) std::memcpy(payload.data(), &ticks, sizeof(ticks));
  return payload;
}

BenchClock::time_point TimeIn(std::string_view payload) {
  int64_t ticks = 0;
  if (payload.size() >= sizeof(ticks)) std::memcpy(&ticks, payload.data(), sizeof(ticks));
  return BenchClock::time_point(BenchClock::duration(ticks));
}

Producer::Producer(std::unique_ptr<Client> client, const BenchOptions& options)
    : options_(options), client_(std::move(client)), run_at_(absl::Now() + options.delay) {}

Producer::~Producer() { AwaitUnderWay(0); }

bool Producer::stopped() const { return failed_ || Interrupt::number() != 0; }

NewTask Producer::MakeTask(BenchClock::time_point due) {
  NewTask task;
  const uint64_t number = made_++;
  task.queue = options_.QueueName(number);
  if (options_.keys > 0) task.options.key = "key-" + std::to_string(number % static_cast<uint64_t>(options_.keys));
  if (options_.groups > 0) {
    task.options.group = "group-" + std::to_string(number % static_cast<uint64_t>(options_.groups));
  }
  if (options_.delay > absl::ZeroDuration()) task.options.run_at = run_at_;
  task.type = kBenchType;
  task.payload = MakePayload(options_.payload_bytes, due);
  return task;
}

void Producer::Done(uint64_t tasks, BenchClock::time_point due, const absl::Status& status) {
  const absl::Duration latency = absl::FromChrono(BenchClock::now() - due);
  if (status.ok()) {
    acknowledged_ += tasks;
  } else {
    failed_ = true;
  }
  MutexLock lock(mu_);
  if (status.ok()) {
    latencies_.Add(latency);
  } else if (failure_.ok()) {
    failure_ = status;
  }
  // Under the lock: this object may be gone as soon as the last call is known to have ended.
  if (--under_way_ == awaited_) fewer_.Signal();
}

void Producer::AwaitUnderWay(int64_t at_most) {
  MutexLock lock(mu_);
  awaited_ = at_most;
  while (under_way_ > at_most) fewer_.Wait(mu_);
}

void Producer::Send(BenchClock::time_point due) {
  ++under_way_;
  client_->EnqueueAsync(MakeTask(due),
                        [this, due](const absl::StatusOr<EnqueueResult>& result) { Done(1, due, result.status()); });
}

absl::Status Producer::Produce(uint64_t count, int in_flight) {
  if (options_.callers > 0) return ProduceInCalls(count, std::max(1, options_.callers / options_.producers));
  if (options_.batch > 1) return ProduceInCalls(count, std::max(1, in_flight / options_.batch));
  for (uint64_t i = 0; i < count && !stopped(); ++i) {
    // Woken when half is answered, not for each: a wake-up costs more than a task.
    if (under_way_ >= in_flight) AwaitUnderWay(in_flight / 2);
    Send(BenchClock::now());
  }
  AwaitUnderWay(0);
  MutexLock lock(mu_);
  return failure_;
}

void Producer::SendMany(uint64_t count) {
  const BenchClock::time_point due = BenchClock::now();
  std::vector<NewTask> tasks;
  tasks.reserve(count);
  for (uint64_t i = 0; i < count; ++i) tasks.push_back(MakeTask(due));
  ++under_way_;
  Done(count, due, client_->EnqueueMany(std::move(tasks)).status());
}

absl::Status Producer::ProduceInCalls(uint64_t count, int calls) {
  // A call blocks, so each that is to be in flight has a thread.
  std::atomic<uint64_t> next = 0;
  std::vector<std::thread> threads;
  const auto batch = static_cast<uint64_t>(options_.batch);
  for (int i = 0; i < calls; ++i) {
    threads.emplace_back([&] {
      while (!stopped()) {
        const uint64_t begin = next.fetch_add(batch);
        if (begin >= count) return;
        SendMany(std::min(batch, count - begin));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(mu_);
  return failure_;
}

absl::Status Producer::ProduceAtRate(uint64_t count, double rate) {
  const BenchClock::time_point begin = BenchClock::now();
  for (uint64_t i = 0; i < count && !stopped(); ++i) {
    const std::chrono::duration<double> offset(static_cast<double>(i) / rate);
    const BenchClock::time_point due = begin + std::chrono::duration_cast<BenchClock::duration>(offset);
    std::this_thread::sleep_until(due);
    Send(due);
  }
  AwaitUnderWay(0);
  MutexLock lock(mu_);
  return failure_;
}

}  // namespace penstock::cli
