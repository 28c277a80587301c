#ifndef PENSTOCK_TESTS_CHAOS_PRODUCER_ACTOR_H_
#define PENSTOCK_TESTS_CHAOS_PRODUCER_ACTOR_H_

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "client/client.h"
#include "common/mutex.h"
#include "tests/chaos/recorder.h"

namespace penstock::chaos {

// The queues of a round. All producers and workers use all of them.
inline constexpr const char* kPlainQueue = "plain";      // priorities, delays, unique keys, retries, expiry
inline constexpr const char* kRelaxedQueue = "relaxed";  // the same, without an fsync before the acknowledgement
inline constexpr const char* kOrderedQueue = "ordered";  // FIFO keys and groups
inline constexpr const char* kNarrowQueue = "narrow";    // a throttle counts what runs
inline constexpr const char* kThrottle = "three-at-once";
inline constexpr int kThrottleUnits = 3;
inline constexpr const char* kTypes[] = {"t0", "t1"};

struct ProducerOptions {
  std::string broker;
  std::string name;
  uint64_t seed = 1;
  int64_t calls_from = 0;  // its calls' numbers in the history begin behind this
  int calls_per_second = 60;
  // Once, claims that an enqueue was acknowledged which it never sent: the checker must find it.
  bool lie = false;
};

// Enqueues tasks of all kinds, cancels some, lets some run at once, waits for some, and writes down what it was told.
class ProducerActor {
 public:
  ProducerActor(const ProducerOptions& options, Recorder& recorder);

  // Until Stop: any thread. Then waits for all answers. The error says why it could not begin.
  absl::Status Run();
  void Stop();

 private:
  void Enqueue();
  NewTask MakeTask(histcheck::Event* line);
  void Answered(int64_t call, const absl::StatusOr<std::vector<EnqueueResult>>& results);
  void AskAbout(TaskId task);
  void Lie();
  bool OneIn(int n) { return Below(n) == 0; }
  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

  const ProducerOptions options_;
  Recorder& recorder_;
  std::mt19937_64 random_;
  int64_t next_call_;
  int made_ = 0;
  std::unique_ptr<Client> client_;

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  int open_ ABSL_GUARDED_BY(mu_) = 0;               // calls
  std::vector<TaskId> tasks_ ABSL_GUARDED_BY(mu_);  // the last of its own
};

}  // namespace penstock::chaos

#endif  // PENSTOCK_TESTS_CHAOS_PRODUCER_ACTOR_H_
