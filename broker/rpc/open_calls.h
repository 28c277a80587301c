#ifndef PENSTOCK_BROKER_RPC_OPEN_CALLS_H_
#define PENSTOCK_BROKER_RPC_OPEN_CALLS_H_

#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/mutex.h"

namespace penstock::broker {

// A call that lasts until somebody ends it: a stream, a wait.
class OpenCall {
 public:
  virtual ~OpenCall() = default;
  // The broker stops, or starts its engine anew: ends the call with UNAVAILABLE. Any thread, more than once; must not
  // block.
  virtual void Stop() = 0;
};

// Every open call, so that a stopping broker can end them. Any thread; owned by the edge.
class OpenCalls {
 public:
  // Stops the call at once if StopAll has been called.
  void Add(const std::shared_ptr<OpenCall>& call);
  void Remove(const OpenCall* call);
  void StopAll();
  // Stops those that are open now; later ones go on.
  void StopOpen();

 private:
  Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_map<const OpenCall*, std::weak_ptr<OpenCall>> calls_ ABSL_GUARDED_BY(mu_);
};

// What such a call ends with.
inline absl::Status StoppingError() {
  return absl::UnavailableError("the broker is stopping or starting anew; connect again");
}

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_OPEN_CALLS_H_
