#ifndef PENSTOCK_COMMON_LOCK_CHECKS_H_
#define PENSTOCK_COMMON_LOCK_CHECKS_H_

#include "absl/synchronization/mutex.h"

namespace penstock {

// Debian builds Abseil with its debugging aids: every lock that gRPC takes is entered in a graph of all locks, to find
// deadlocks; some 4 % of the CPU time of small messages. For programs, first in main; a library leaves the choice to
// its user's program.
inline void TurnOffLockChecks() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

}  // namespace penstock

#endif  // PENSTOCK_COMMON_LOCK_CHECKS_H_
