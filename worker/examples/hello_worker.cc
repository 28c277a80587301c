// hello_worker [BROKER]: greets whoever the payload names, until SIGTERM or Ctrl-C.
//
//   hello_worker 127.0.0.1:7420 &
//   penstock enqueue hello hello.greet World --wait

#include <iostream>
#include <string>
#include <string_view>

#include "worker/worker.h"

int main(int argc, char** argv) {
  penstock::WorkerOptions options;
  if (argc > 1) options.broker = argv[1];
  options.queues = {"hello"};
  options.concurrency = 2;

  penstock::Worker worker(options);
  worker.RegisterRaw("hello.greet", [](penstock::TaskContext& context, std::string_view name) {
    // Once more would not help: the task is dead at once, and kept with this error.
    if (name.empty()) return penstock::Outcome::Reject({"no name", "the payload must be a name", ""});
    context.Progress(50, "clearing throat");
    // Ends early when the task is cancelled or the worker stops: long handlers look at this now and then.
    if (context.WaitForCancel(absl::Milliseconds(200))) return penstock::Outcome::Release();
    return penstock::Outcome::Done("Hello, " + std::string(name) + "!", "text/plain");
  });

  if (const absl::Status status = worker.Run(); !status.ok()) {
    std::cerr << "hello_worker: " << status.message() << "\n";
    return 1;
  }
  return 0;
}
