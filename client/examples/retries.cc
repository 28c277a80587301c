// retries [BROKER]: a task that gets through at its third attempt, and one whose life ends before it does.
//
//   penstock-broker &
//   retries 127.0.0.1:7420
//
// Both call a provider that is down. The waits grow by 100 ms from attempt to attempt. The first has attempts enough;
// the second gives up 500 ms after it was first due, whatever its attempts. Prints what became of each, attempt by
// attempt.

#include <atomic>
#include <iostream>
#include <string>

#include "client/client.h"
#include "worker/worker.h"

namespace {

void Print(const penstock::TaskInfo& task) {
  std::cout << task.payload << ": " << (task.state == penstock::TaskState::kCompleted ? "completed" : "dead");
  if (!task.dead_reason.empty()) std::cout << ", " << task.dead_reason;
  std::cout << "\n";
  for (const penstock::TaskAttempt& attempt : task.attempts) {
    std::cout << "  attempt " << attempt.number << " on " << attempt.worker << ": " << attempt.outcome;
    if (!attempt.error_message.empty()) std::cout << ", " << attempt.error_type << ": " << attempt.error_message;
    std::cout << "\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string broker = argc > 1 ? argv[1] : "127.0.0.1:7420";
  auto client = penstock::Client::Connect(broker);
  if (!client.ok()) {
    std::cerr << "retries: " << client.status().message() << "\n";
    return 1;
  }
  penstock::WorkerOptions options;
  options.broker = broker;
  options.queues = {"retries-example"};
  options.name = "example";
  penstock::Worker worker(options);
  std::atomic<int> calls = 0;
  worker.RegisterRaw("call", [&](penstock::TaskContext&, std::string_view payload) {
    if (payload == "patient" && ++calls == 3) return penstock::Outcome::Done("answered");
    return penstock::Outcome::Retry({"ProviderError", "503: try again", ""});
  });
  if (const absl::Status status = worker.Start(); !status.ok()) {
    std::cerr << "retries: " << status.message() << "\n";
    return 1;
  }
  for (const std::string name : {"patient", "hasty"}) {
    penstock::EnqueueOptions how;
    how.backoff = penstock::BackoffKind::kLinear;
    how.initial_backoff = absl::Milliseconds(100);
    how.backoff_jitter = 0;
    if (name == "hasty") how.life_timeout = absl::Milliseconds(500);
    auto id = (*client)->Enqueue("retries-example", "call", name, how);
    if (!id.ok()) {
      std::cerr << "retries: " << id.status().message() << "\n";
      return 1;
    }
    auto task = (*client)->WaitTask(*id, absl::Minutes(1));
    if (!task.ok()) {
      std::cerr << "retries: " << task.status().message() << "\n";
      return 1;
    }
    task->payload = name;
    Print(*task);
  }
  worker.Stop();
  return 0;
}
