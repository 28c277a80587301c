#include "tests/chaos/worker_actor.h"

#include <unistd.h>

#include <thread>

#include "common/random.h"
#include "common/status.h"
#include "fmt/format.h"
#include "tests/chaos/producer_actor.h"

namespace penstock::chaos {

using histcheck::Event;
using histcheck::Op;

WorkerActor::WorkerActor(const WorkerActorOptions& options, Recorder& recorder)
    : options_(options), recorder_(recorder) {}

absl::Status WorkerActor::Start() {
  for (int i = 0; i < options_.workers; ++i) {
    WorkerOptions options;
    options.broker = options_.broker;
    options.name = i == 0 ? options_.name : fmt::format("{}/{}", options_.name, i);
    options.queues = {kPlainQueue, kRelaxedQueue, kOrderedQueue, kNarrowQueue};
    options.concurrency = options_.concurrency;
    options.prefetch = options_.prefetch;
    options.lease = options_.lease;
    options.drain_grace = absl::Seconds(2);
    options.reconnect_max = absl::Milliseconds(300);
    auto worker = std::make_unique<Worker>(options);
    for (const char* type : kTypes) {
      worker->RegisterRaw(
          type, [this, name = options.name](TaskContext& context, std::string_view) { return Handle(name, context); });
    }
    RETURN_IF_ERROR(worker->Start());
    workers_.push_back(std::move(worker));
  }
  return absl::OkStatus();
}

void WorkerActor::Stop() {
  std::vector<std::thread> stops;
  for (auto& worker : workers_) stops.emplace_back([&worker] { worker->Stop(); });
  for (std::thread& stop : stops) stop.join();
}

Outcome WorkerActor::Handle(const std::string& worker, TaskContext& context) {
  Event line = LineOf(Op::kStart, worker);
  line.task = context.id().value();
  line.token = context.fencing_token();
  recorder_.Write(line);
  return Decide(context);
}

Outcome WorkerActor::Decide(TaskContext& context) {
  if (!options_.hold.empty()) {
    while (access(options_.hold.c_str(), F_OK) != 0 && !context.WaitForCancel(absl::Milliseconds(20))) {
    }
    return Outcome::Done("held");
  }
  if (options_.good) return Outcome::Done("good");
  const uint64_t draw = MixBits(context.fencing_token() ^ options_.seed * 0x9e3779b97f4a7c15);
  const auto time = static_cast<int64_t>(draw >> 40);
  absl::Duration run = absl::Microseconds(time % 20'000);
  if (draw % 100 < 8) run = absl::Milliseconds(100 + time % 700);
  if (draw % 100 == 99) run = absl::Milliseconds(2'000 + time % 2'000);
  if (context.WaitForCancel(run) && context.cancel_reason() == CancelReason::kCancelled && time % 2 == 0) {
    return Outcome::Cancelled();
  }
  switch (draw / 100 % 25) {
    case 0:
    case 1:
      return Outcome::Retry({"chaos", "it failed", ""});
    case 2:
      return Outcome::RetryAfter(absl::Milliseconds(time % 1'500), {"chaos", "it failed for a while", ""});
    case 3:
      return Outcome::Reject({"chaos", "it is of no use", ""});
    case 4:
      return Outcome::Snooze(absl::Milliseconds(time % 1'000));
    case 5:
      return Outcome::Release();
    default:
      return Outcome::Done(fmt::format("done {}", context.attempt()));
  }
}

}  // namespace penstock::chaos
