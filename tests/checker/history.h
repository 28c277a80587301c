#ifndef PENSTOCK_TESTS_CHECKER_HISTORY_H_
#define PENSTOCK_TESTS_CHECKER_HISTORY_H_

// What clients and workers saw of a broker, one Event a line; README.md says what each line means. This folder includes
// nothing of the broker: the checker must not share its mistakes.

#include <array>
#include <cstdint>
#include <istream>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::histcheck {

enum class Op : uint8_t {
  kConfig,
  kQueue,
  kLimit,
  kWorker,
  kEnqueue,
  kEnqueued,
  kDeliver,
  kStart,
  kOutcome,
  kAnswer,
  kLost,
  kCut,
  kValid,
  kAsk,
  kTold,
  kSeen,
  kPowerLoss,
  kJump,
  kQuiet,
  kDrained,
  kTask,
  kCounters,
  kBulk,
};
inline constexpr int kOpCount = 23;

enum class Phase : uint8_t { kNone, kOk, kFail, kUnknown, kStale, kFinished };

enum Count : uint8_t {
  kScheduled,
  kAvailable,
  kRunning,
  kRetryable,
  kDead,
  kEnqueued,
  kCompleted,
  kFailed,
  kCancelled,
  kDied
};
inline constexpr int kCountCount = 10;

inline constexpr int64_t kNever = INT64_MAX;

// A line. Which fields mean something depends on `op`; the others keep their defaults and are not written.
struct Event {
  Op op = Op::kConfig;
  Phase phase = Phase::kNone;
  bool dup = false;
  bool relaxed = false;
  bool forgets = false;
  bool told = false;
  bool replaced = false;
  bool keep_start = false;
  bool dry = false;
  int64_t t = 0;  // microseconds
  int64_t call = 0;
  int64_t i = 0;
  uint64_t task = 0;  // ids may be any text in a file; they are numbered when it is read
  uint64_t token = 0;
  int64_t attempt = 0;
  int64_t max_attempts = 0;
  int64_t priority = 5;
  int64_t run_at = 0;
  int64_t delay = -1;
  int64_t expire_at = kNever;
  int64_t life = 0;
  int64_t window = 0;
  int64_t until = 0;
  int64_t since = 0;
  int64_t n = 0;
  int64_t backoff = -1;
  int64_t max_delay = 0;
  int64_t max_commit = 0;
  int64_t max_silence = 0;
  int64_t liveness = 0;
  int64_t cost = 1;
  int64_t bytes = 0;
  int64_t max_waiting = 0;
  int64_t max_bytes = 0;
  int64_t rate = 0;
  int64_t period = 0;
  int64_t burst = 0;
  int64_t seen = 0;
  int64_t matched = 0;
  int64_t changed = 0;
  int64_t skipped = 0;
  std::string who, q, type, payload, unique, key, limits, kind, state, cool, saved;
  std::string scope, conflict, group, labels, name, per, queues, types, overflow, reason, states, where, error;
  std::array<int64_t, kCountCount> counts{};
};

using History = std::vector<Event>;

std::string_view NameOf(Op op);
std::string ToJson(const Event& event);
void Write(const History& history, std::ostream& out);

// Reads lines until the end. False: `error` names the line and what is wrong with it.
bool Read(std::istream& in, History* history, std::string* error);

}  // namespace penstock::histcheck

#endif  // PENSTOCK_TESTS_CHECKER_HISTORY_H_
