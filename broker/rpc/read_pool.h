#ifndef PENSTOCK_BROKER_RPC_READ_POOL_H_
#define PENSTOCK_BROKER_RPC_READ_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"

namespace penstock::broker {

// The few threads that read from the store for callers, so that neither reactions nor the engine wait for a disk. Owned
// by the edge; any thread may submit.
class ReadPool {
 public:
  explicit ReadPool(size_t thread_count = 2, size_t queue_max = 1'000);
  ~ReadPool() { Stop(); }
  ReadPool(const ReadPool&) = delete;
  ReadPool& operator=(const ReadPool&) = delete;

  // Runs `read` soon, once, even if the pool is stopped meanwhile. ResourceExhausted if too many wait, Unavailable
  // after Stop: then it does not.
  absl::Status Submit(std::function<void()> read);

  // Waits until nothing is being read and nothing waits to be.
  void AwaitIdle();

  // Runs what was submitted, then ends the threads. Safe twice.
  void Stop();

 private:
  void Run();

  const size_t queue_max_;
  Mutex mu_;
  CondVar wake_;
  CondVar idle_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  size_t running_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_READ_POOL_H_
