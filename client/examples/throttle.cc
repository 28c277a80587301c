// A service whose provider allows 10 calls a second and 3 at a time: it makes the throttle, or changes the one it made
// when it started before, and enqueues more than that. Workers need to know nothing of it.
//
//   throttle_example 127.0.0.1:7420

#include <iostream>

#include "client/client.h"

namespace {

int Fail(const absl::Status& status) {
  std::cerr << status << std::endl;
  return 1;
}

// Makes the throttle, or gives the one of that name these limits: starting twice does no harm.
absl::StatusOr<penstock::ThrottleInfo> Ensure(penstock::ThrottleClient& throttles,
                                              const penstock::NewThrottle& wanted) {
  absl::StatusOr<penstock::ThrottleInfo> made = throttles.Create(wanted);
  if (!absl::IsAlreadyExists(made.status())) return made;
  penstock::ThrottleChange change;
  change.types = wanted.types;
  change.max_running = wanted.max_running;
  change.rate = wanted.rate;
  return throttles.Update(wanted.name, change);
}

}  // namespace

int main(int argc, char** argv) {
  auto client = penstock::Client::Connect(argc > 1 ? argv[1] : "127.0.0.1:7420");
  if (!client.ok()) return Fail(client.status());

  penstock::NewThrottle provider;
  provider.name = "mail-provider";
  provider.types = {"mail.send"};
  provider.max_running = 3;
  provider.rate = penstock::ThrottleRate{10, absl::Seconds(1), 0};
  const absl::StatusOr<penstock::ThrottleInfo> info = Ensure((*client)->Throttles(), provider);
  if (!info.ok()) return Fail(info.status());

  for (int i = 0; i < 20; ++i) {
    penstock::EnqueueOptions options;
    options.cost = i % 10 == 0 ? 3 : 1;  // a bulk mail is three calls
    const absl::StatusOr<penstock::TaskId> task = (*client)->Enqueue("mail", "mail.send", "hello", options);
    if (!task.ok()) return Fail(task.status());
  }
  std::cout << "20 tasks wait for throttle " << info->name << ": at most " << info->max_running << " at a time, "
            << info->rate->tasks << " a second" << std::endl;
  return 0;
}
