#ifndef PENSTOCK_BROKER_CORE_CORE_TYPES_H_
#define PENSTOCK_BROKER_CORE_CORE_TYPES_H_

#include <cstdint>

#include "absl/time/time.h"
#include "common/ids.h"
#include "common/task_id.h"

namespace penstock::broker {

using QueueId = Id<struct QueueIdTag, uint32_t>;
using TypeId = Id<struct TypeIdTag, uint32_t>;
using LaneId = Id<struct LaneIdTag, uint32_t>;
using BlockId = Id<struct BlockIdTag>;
// Numbers sessions within a partition; shown to operators, unlike the session's secret id.
using SessionNumber = Id<struct SessionNumberTag>;
// Names, for the edge, whoever waits for a reply, or the stream that a session is connected by. Chosen by the edge,
// never used twice while it lives; 0 is nobody.
using Ticket = Id<struct TicketTag>;
// Grows with every delivery of a partition: epoch in the upper 24 bits, a sequence in the lower 40.
using FencingToken = Id<struct FencingTokenTag>;

// The core computes and stores whole microseconds: wall time since 1970 (Time) and intervals (Span), 8 bytes each.
using Time = int64_t;
using Span = int64_t;
inline constexpr Time kNever = INT64_MAX;
inline constexpr Span kMilli = 1'000;
inline constexpr Span kSecond = 1'000'000;
inline constexpr Span kMinute = 60 * kSecond;
inline constexpr Span kHour = 60 * kMinute;

inline Time ToMicros(absl::Time time) { return absl::ToUnixMicros(time); }
inline Span ToMicros(absl::Duration duration) { return absl::ToInt64Microseconds(duration); }
inline absl::Time ToTime(Time micros) { return absl::FromUnixMicros(micros); }
inline absl::Duration ToDuration(Span micros) { return absl::Microseconds(micros); }

// One moment: wall time for what is stored, elapsed time for intervals in memory (leases, graces). See common/clock.h.
// `elapsed` is what intervals end by: a moment up to which all that arrived was applied. While more waits it is really
// later, by `ahead`: intervals that begin now begin there.
struct CoreNow {
  Time wall = 0;
  Span elapsed = 0;
  Span ahead = 0;

  Span begin() const { return elapsed + ahead; }
};

// A task's life; the numbers are stored and equal penstock.v1.TaskState.
enum class State : uint8_t {
  kScheduled = 1,
  kBlocked = 2,
  kAvailable = 3,
  kRunning = 4,
  kRetryable = 5,
  kCompleted = 6,
  kCancelled = 7,
  kDead = 8,
};
inline bool IsFinal(State state) { return state >= State::kCompleted; }

// Equal penstock.v1.DeadReason.
enum class DeadReason : uint8_t {
  kNone = 0,
  kAttemptsUsedUp = 1,
  kRejected = 2,
  kExpired = 3,
  kDropped = 4,
  kTimedOut = 5,
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_CORE_CORE_TYPES_H_
