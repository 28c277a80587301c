// A service that wants something done every so often: it makes a schedule, or changes the one it made when it started
// before, and waits for the first task. A worker for queue "hello", type "hello.greet" does the work:
// worker/examples/hello_worker.cc.
//
//   schedule_example 127.0.0.1:7420

#include <iostream>

#include "client/client.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << status << std::endl;
  return 1;
}

// Makes the schedule, or gives the one of that name these times: starting twice does no harm.
absl::StatusOr<penstock::ScheduleInfo> Ensure(penstock::ScheduleClient& schedules,
                                              const penstock::NewSchedule& wanted) {
  absl::StatusOr<penstock::ScheduleInfo> made = schedules.Create(wanted);
  if (!absl::IsAlreadyExists(made.status())) return made;
  penstock::ScheduleChange change;
  change.times = wanted.times;
  change.task = wanted.task;
  change.overlap = wanted.overlap;
  return schedules.Update(wanted.name, change);
}

}  // namespace

int main(int argc, char** argv) {
  auto client = penstock::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:7420");
  if (!client.ok()) return Fail(client.status());
  penstock::ScheduleClient& schedules = (*client)->Schedules();

  penstock::NewSchedule nightly;
  nightly.name = "nightly-hello";
  nightly.times = {.cron = "30 2 * * *", .time_zone = "Europe/Berlin"};
  nightly.task = {.queue = "hello", .type = "hello.greet", .payload = "night"};
  nightly.overlap = penstock::Overlap::kSkip;  // never two at a time
  const absl::StatusOr<penstock::ScheduleInfo> info = Ensure(schedules, nightly);
  if (!info.ok()) return Fail(info.status());
  for (const absl::Time next : info->next_times) std::cout << "runs at " << absl::FormatTime(next) << std::endl;

  // Nobody has to wait for half past two to see whether it works.
  const absl::StatusOr<penstock::TaskId> task = schedules.RunNow(nightly.name);
  if (!task.ok()) return Fail(task.status());
  const absl::StatusOr<std::string> result = (*client)->Wait<std::string>(*task, absl::Minutes(1));
  if (!result.ok()) return Fail(result.status());
  std::cout << "task " << task->ToString() << ": " << *result << std::endl;
  return 0;
}
