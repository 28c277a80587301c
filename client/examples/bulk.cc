// A customer leaves: the service cancels all that waits for that customer, in one job of the broker's, and shows how
// far it is. Started again with the same customer, it finds its job again.
//
//   bulk_example 127.0.0.1:7420

#include <iostream>
#include <string>
#include <vector>

#include "client/client.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << status << std::endl;
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto client = penstock::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:7420");
  if (!client.ok()) return Fail(client.status());

  std::vector<penstock::NewTask> tasks;
  for (int i = 0; i < 1'000; ++i) {
    penstock::NewTask task;
    task.queue = "invoices";
    task.type = "invoice.send";
    task.payload = "{\"customer\": " + std::to_string(i % 10) + ", \"month\": " + std::to_string(i % 12 + 1) + "}";
    tasks.push_back(std::move(task));
  }
  if (const auto enqueued = (*client)->EnqueueMany(std::move(tasks)); !enqueued.ok()) return Fail(enqueued.status());

  penstock::BulkJobSpec spec;
  spec.action = penstock::BulkAction::kCancel;
  spec.filter.queue = "invoices";
  spec.filter.where = "payload.customer == 7 && payload.month < 12";
  spec.reason = "customer 7 has left";
  absl::StatusOr<penstock::BulkJobInfo> job = (*client)->Bulk().Start(spec, "leave-7");
  if (!job.ok()) return Fail(job.status());
  while (!job->ended()) {
    job = (*client)->Bulk().Wait(job->id, absl::Seconds(1));
    if (absl::IsDeadlineExceeded(job.status())) job = (*client)->Bulk().Get(job->id);
    if (!job.ok()) return Fail(job.status());
    std::cout << "bulk job " << job->id << ": " << job->changed << " of " << job->matched << " tasks cancelled, "
              << job->seen << " seen" << std::endl;
  }

  penstock::TaskFilter left;
  left.queue = "invoices";
  left.where = "payload.customer == 7";
  const absl::StatusOr<penstock::TaskPage> page = (*client)->ListTasks(left, 1'000);
  if (!page.ok()) return Fail(page.status());
  std::cout << page->tasks.size() << " tasks of customer 7 are left" << std::endl;
  return job->state == penstock::BulkJobState::kDone ? 0 : 1;
}
