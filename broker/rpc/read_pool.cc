#include "broker/rpc/read_pool.h"

#include <utility>

#include "common/status_grpc.h"

namespace penstock::broker {

ReadPool::ReadPool(size_t thread_count, size_t queue_max) : queue_max_(queue_max) {
  for (size_t i = 0; i < thread_count; ++i) threads_.emplace_back([this] { Run(); });
}

absl::Status ReadPool::Submit(std::function<void()> read) {
  {
    MutexLock lock(mu_);
    if (stopping_) return absl::UnavailableError("the broker is stopping");
    if (queue_.size() >= queue_max_) {
      return LimitReached("limits.reads", "too many reads are waiting", absl::Seconds(1));
    }
    queue_.push_back(std::move(read));
  }
  wake_.Signal();
  return absl::OkStatus();
}

void ReadPool::AwaitIdle() {
  MutexLock lock(mu_);
  while (!queue_.empty() || running_ > 0) idle_.Wait(mu_);
}

void ReadPool::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  wake_.SignalAll();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void ReadPool::Run() {
  while (true) {
    std::function<void()> read;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stopping_) wake_.Wait(mu_);
      if (queue_.empty()) return;
      read = std::move(queue_.front());
      queue_.pop_front();
      ++running_;
    }
    read();
    read = nullptr;  // what it keeps alive goes before it counts as done
    {
      MutexLock lock(mu_);
      --running_;
    }
    idle_.SignalAll();
  }
}

}  // namespace penstock::broker
