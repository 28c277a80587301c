#include "client/cli/bench/bench_queue.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "client/cli/bench/producer.h"
#include "common/status.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

constexpr int kRoundTrips = 100;
// Deleting waits for tasks that run: workers that were stopped have just handed them back.
constexpr int kDeleteTries = 50;

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

v1::GetStatusRequest SmallStatus() {
  v1::GetStatusRequest request;
  request.set_max_queues(1);
  request.set_max_workers(1);
  return request;
}

}  // namespace

template <class Visit>
absl::Status BenchQueue::ForEach(Visit visit) {
  for (uint64_t i = 0; i < static_cast<uint64_t>(options_.queues); ++i) {
    RETURN_IF_ERROR(visit(options_.QueueName(i)));
  }
  return absl::OkStatus();
}

absl::Status BenchQueue::Make() {
  return ForEach([&](const std::string& name) {
    absl::Status status = MakeOne(name);
    made_ += status.ok() ? 1 : 0;
    return status;
  });
}

absl::Status BenchQueue::MakeOne(const std::string& name) {
  v1::GetQueueRequest get;
  get.set_name(name);
  const auto found = broker_.Call(&AdminStub::GetQueue, get);
  if (found.ok()) {
    const v1::QueueStats& stats = found->queue().stats();
    const uint64_t tasks = stats.available() + stats.scheduled() + stats.running() + stats.retryable() + stats.dead();
    const bool ours = options_.queue == BenchOptions().queue;
    if (!options_.force && (tasks > 0 || !ours)) {
      return absl::FailedPreconditionError(fmt::format(
          "queue {} exists{}: a benchmark deletes its queue; name another with --queue, or delete this one with "
          "everything in it by --force",
          name, tasks > 0 ? fmt::format(" with {} tasks", tasks) : ""));
    }
    RETURN_IF_ERROR(RemoveOne(name));
  } else if (!absl::IsNotFound(found.status())) {
    return found.status();
  }
  v1::CreateQueueRequest create;
  create.mutable_queue()->set_name(name);
  v1::QueueSettings& settings = *create.mutable_queue()->mutable_settings();
  settings.set_durability(options_.relaxed ? v1::DURABILITY_RELAXED : v1::DURABILITY_SYNC);
  if (options_.retention) {
    const int64_t millis = absl::ToInt64Milliseconds(*options_.retention);
    settings.mutable_result_retention()->set_seconds(millis / 1000);
    settings.mutable_result_retention()->set_nanos(static_cast<int32_t>(millis % 1000 * 1'000'000));
  }
  return broker_.Call(&AdminStub::CreateQueue, create).status();
}

absl::Status BenchQueue::Pause() {
  return ForEach([&](const std::string& name) {
    v1::PauseQueueRequest request;
    request.set_name(name);
    return broker_.Call(&AdminStub::PauseQueue, request).status();
  });
}

absl::Status BenchQueue::Resume() {
  return ForEach([&](const std::string& name) {
    v1::ResumeQueueRequest request;
    request.set_name(name);
    return broker_.Call(&AdminStub::ResumeQueue, request).status();
  });
}

absl::StatusOr<uint64_t> BenchQueue::Completed() {
  uint64_t completed = 0;
  RETURN_IF_ERROR(ForEach([&](const std::string& name) -> absl::Status {
    v1::GetQueueRequest request;
    request.set_name(name);
    ASSIGN_OR_RETURN(const v1::GetQueueResponse response, broker_.Call(&AdminStub::GetQueue, request));
    completed += response.queue().stats().completed_total();
    return absl::OkStatus();
  }));
  return completed;
}

absl::StatusOr<bool> BenchQueue::WorkersConnected(int count) {
  v1::GetStatusRequest request;
  request.set_max_workers(1'000);
  ASSIGN_OR_RETURN(const v1::GetStatusResponse response, broker_.Call(&AdminStub::GetStatus, request));
  int connected = 0;
  for (const v1::Worker& worker : response.workers()) {
    connected += worker.connected() && worker.queues_size() > 0 && worker.queues(0) == options_.QueueName(0) ? 1 : 0;
  }
  return connected >= count;
}

absl::Status BenchQueue::Remove() {
  while (made_ > 0) {
    RETURN_IF_ERROR(RemoveOne(options_.QueueName(static_cast<uint64_t>(made_ - 1))));
    --made_;
  }
  return absl::OkStatus();
}

absl::Status BenchQueue::RemoveOne(const std::string& name) {
  v1::DeleteQueueRequest request;
  request.set_name(name);
  request.set_force(true);
  absl::Status status;
  for (int i = 0; i < kDeleteTries; ++i) {
    status = broker_.Call(&AdminStub::DeleteQueue, request).status();
    if (!absl::IsFailedPrecondition(status)) break;
    absl::SleepFor(absl::Milliseconds(100));
  }
  return status;
}

absl::StatusOr<BrokerUsage> BenchQueue::Usage() {
  ASSIGN_OR_RETURN(const v1::GetStatusResponse response, broker_.Call(&AdminStub::GetStatus, SmallStatus()));
  const v1::BrokerStatus& broker = response.broker();
  return BrokerUsage{ToDuration(broker.cpu_time()), broker.commit_count(), broker.sync_count(), broker.written_bytes(),
                     broker.memory_bytes()};
}

absl::StatusOr<std::string> BenchQueue::BrokerVersion() {
  ASSIGN_OR_RETURN(const v1::GetStatusResponse response, broker_.Call(&AdminStub::GetStatus, SmallStatus()));
  return response.broker().version();
}

absl::StatusOr<Histogram> BenchQueue::MeasureRoundTrip() {
  Histogram times;
  v1::GetQueueRequest request;
  request.set_name(options_.QueueName(0));
  for (int i = 0; i < kRoundTrips; ++i) {
    const BenchClock::time_point begin = BenchClock::now();
    RETURN_IF_ERROR(broker_.Call(&AdminStub::GetQueue, request).status());
    times.Add(absl::FromChrono(BenchClock::now() - begin));
  }
  return times;
}

}  // namespace penstock::cli
