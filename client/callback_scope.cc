#include "client/callback_scope.h"

namespace penstock {

thread_local int CallbackScope::depth_ = 0;

absl::Status CallbackScope::CheckMayBlock() {
  if (!Inside()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this call blocks, and a client's callback must not: its thread brings the answers. Use EnqueueAsync, "
      "EnqueueManyAsync or WaitAsync there, or hand over to a thread of your own");
}

}  // namespace penstock
