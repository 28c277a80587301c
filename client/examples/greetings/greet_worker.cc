// greet_worker BROKER: runs the tasks of greet_enqueue until SIGTERM.

#include <penstock/worker/worker.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: greet_worker BROKER\n";
    return 64;
  }
  penstock::Worker worker({.broker = argv[1], .queues = {"greetings"}, .concurrency = 2});
  worker.RegisterRaw("greet", [](penstock::TaskContext& context, std::string_view name) {
    return penstock::Outcome::Done("Hello, " + std::string(name), "text/plain");
  });
  if (const absl::Status status = worker.Run(); !status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  return 0;
}
