// Asks why a task is not running, what is before it and when it may start; and hears of tasks as they finish, without
// asking again and again.
//
//   explain_example 127.0.0.1:7420 [TASK]      without a task: one that only a worker with a GPU runs

#include <future>
#include <iostream>

#include "client/client.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << status << std::endl;
  return 1;
}

void Print(const penstock::TaskExplanation& explanation) {
  for (const penstock::WaitReason& reason : explanation.reasons) std::cout << "  " << reason.text << std::endl;
  if (explanation.position) std::cout << "  before it: about " << explanation.position->expected << std::endl;
  if (explanation.starts_in) {
    std::cout << "  starts in about " << explanation.starts_in->expected << ", " << explanation.starts_in->high
              << " at most, nine times in ten" << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto client = penstock::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:7420");
  if (!client.ok()) return Fail(client.status());

  penstock::TaskId task;
  if (argc > 2) {
    task = penstock::TaskId::Parse(argv[2]).value_or(penstock::TaskId());
  } else {
    penstock::EnqueueOptions options;
    options.worker_labels = {{"gpu", "yes"}};
    const auto enqueued = (*client)->Enqueue("images", "image.resize", "cat.png", options);
    if (!enqueued.ok()) return Fail(enqueued.status());
    task = *enqueued;
  }
  const auto explanation = (*client)->ExplainTask(task);
  if (!explanation.ok()) return Fail(explanation.status());
  std::cout << "task " << task.ToString() << (explanation->position ? " waits" : " does not wait") << std::endl;
  Print(*explanation);
  if (argc > 2) return 0;

  // The subscription counts once the broker has heard of it, a moment later: what must not be missed is asked for with
  // Wait.
  std::promise<penstock::FinishedTask> finished;
  const auto subscription =
      (*client)->Subscribe("images", {.states = {penstock::TaskState::kCancelled}},
                           [&, told = false](absl::StatusOr<penstock::SubscriptionUpdate> update) mutable {
                             if (!update.ok() || update->tasks.empty() || told) return;
                             told = true;
                             finished.set_value(update->tasks.front());
                           });
  const auto cancelled = (*client)->CancelTask(task, "an example");
  if (!cancelled.ok()) return Fail(cancelled.status());
  auto told = finished.get_future();
  if (told.wait_for(std::chrono::seconds(5)) == std::future_status::ready) {
    std::cout << "task " << told.get().id.ToString() << " was cancelled" << std::endl;
  }
  return 0;
}
