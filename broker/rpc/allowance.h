#ifndef PENSTOCK_BROKER_RPC_ALLOWANCE_H_
#define PENSTOCK_BROKER_RPC_ALLOWANCE_H_

#include <cstddef>

#include "common/mutex.h"

namespace penstock::broker {

// Bytes that several may hold together, so that the memory of many small holders has an end. Any thread.
class Allowance {
 public:
  explicit Allowance(size_t bytes) : left_(bytes) {}

  // False: so much is not left.
  bool Take(size_t bytes) {
    MutexLock lock(mu_);
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  void Return(size_t bytes) {
    MutexLock lock(mu_);
    left_ += bytes;
  }

 private:
  Mutex mu_;
  size_t left_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_ALLOWANCE_H_
