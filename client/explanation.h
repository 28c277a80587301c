#ifndef PENSTOCK_CLIENT_EXPLANATION_H_
#define PENSTOCK_CLIENT_EXPLANATION_H_

// Why a task is not running, as Client::ExplainTask tells it. docs/explain.md says what it means.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/task.h"

namespace penstock {

// One thing that keeps a task from running; proto/penstock/v1/task_service.proto says what each means.
struct WaitReason {
  enum class Code {
    kUnknown = 0,
    kNotDue = 1,
    kQueuePaused = 2,
    kKeyHeld = 3,
    kKeyTurn = 4,
    kThrottled = 5,
    kCooling = 6,
    kNoWorker = 7,
    kNoWorkerWithLabels = 8,
    kWorkersDraining = 9,
    kWorkersBusy = 10,
    kTurn = 11,
    kBrokerStopping = 12,
    kReclaim = 13,
  };
  Code code = Code::kUnknown;
  std::string text = {};
  std::vector<TaskId> tasks = {};  // in its way
  std::string throttle = {};
  std::optional<absl::Time> until = {};  // when it ends, if time alone ends it
};

struct TaskExplanation {
  TaskState state = TaskState::kUnknown;
  std::vector<WaitReason> reasons = {};  // what to do about it first; none: it is handed out as soon as its turn comes
  // Tasks that its queue hands out before it: about `expected`, and for certain from `low` to `high`.
  struct Position {
    uint64_t expected = 0;
    uint64_t low = 0;
    uint64_t high = 0;
  };
  std::optional<Position> position = {};  // while it waits
  // Nine times in ten from `low` to `high`.
  struct Estimate {
    absl::Duration expected = {};
    absl::Duration low = {};
    absl::Duration high = {};
  };
  std::optional<Estimate> starts_in = {};  // if anybody can tell
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_EXPLANATION_H_
