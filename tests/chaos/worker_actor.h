#ifndef PENSTOCK_TESTS_CHAOS_WORKER_ACTOR_H_
#define PENSTOCK_TESTS_CHAOS_WORKER_ACTOR_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/chaos/recorder.h"
#include "worker/worker.h"

namespace penstock::chaos {

struct WorkerActorOptions {
  std::string broker;
  std::string name;  // of the first worker; others are called name/1, name/2, ...
  int workers = 1;
  int concurrency = 4;
  int prefetch = -1;
  uint64_t seed = 1;
  absl::Duration lease = absl::Seconds(3);
  // Every task is completed at once. Otherwise handlers take their time, fail, snooze, reject and give back.
  bool good = false;
  // Tasks run until this file is there; then they are completed.
  std::string hold;
};

// Workers that run whatever comes, and write down each start of a handler; what passes between them and the broker is
// written down by session_tap.h.
class WorkerActor {
 public:
  WorkerActor(const WorkerActorOptions& options, Recorder& recorder);

  absl::Status Start();
  void Stop();

 private:
  Outcome Handle(const std::string& worker, TaskContext& context);
  Outcome Decide(TaskContext& context);

  const WorkerActorOptions options_;
  Recorder& recorder_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace penstock::chaos

#endif  // PENSTOCK_TESTS_CHAOS_WORKER_ACTOR_H_
