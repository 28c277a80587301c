#ifndef PENSTOCK_CLIENT_CALLBACK_SCOPE_H_
#define PENSTOCK_CLIENT_CALLBACK_SCOPE_H_

#include "absl/status/status.h"

namespace penstock {

// Marks, while it lives, that this thread runs a callback of an enqueue or a wait. gRPC has few threads for the
// answers of all clients of a process: a callback that blocked could wait for an answer which its own thread must
// bring. So what would block looks here first. Scopes may nest.
class CallbackScope {
 public:
  CallbackScope() { ++depth_; }
  ~CallbackScope() { --depth_; }
  CallbackScope(const CallbackScope&) = delete;
  CallbackScope& operator=(const CallbackScope&) = delete;

  // FailedPrecondition inside a callback.
  static absl::Status CheckMayBlock();
  static bool Inside() { return depth_ > 0; }

 private:
  static thread_local int depth_;
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_CALLBACK_SCOPE_H_
