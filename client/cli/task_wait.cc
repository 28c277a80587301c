#include "client/cli/task_wait.h"

#include <algorithm>

#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/proto_time.h"
#include "client/cli/task_view.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"

namespace penstock::cli {
namespace {

constexpr absl::Duration kPause = absl::Seconds(1);
// The first call is answered at once: the broker is there, and knows the task. What goes wrong later is waited out.
constexpr absl::Duration kFirst = absl::Milliseconds(1);

// One call that waits for at most `time`.
absl::StatusOr<v1::WaitTaskResponse> WaitOnce(Connection& broker, const std::string& id, absl::Duration time) {
  v1::WaitTaskRequest request;
  request.set_task_id(id);
  Set(time, request.mutable_timeout());
  // The broker answers when `time` has passed; the call's own deadline is for a broker that does not.
  return broker.Call(&TaskStub::WaitTask, request, time + absl::Seconds(5));
}

}  // namespace

absl::StatusOr<v1::Task> WaitUntilFinished(CommandContext& context, const std::string& id, absl::Time deadline,
                                           absl::Duration every,
                                           const std::function<absl::Status(const v1::Task&)>& look) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  bool answered = false;
  std::string state = "unknown";
  while (true) {
    // 0 would mean as long as the broker likes.
    const absl::Duration left = std::max(deadline - absl::Now(), absl::Milliseconds(1));
    absl::StatusOr<v1::WaitTaskResponse> response = WaitOnce(*broker, id, std::min(left, answered ? every : kFirst));
    if (response.ok()) {
      answered = true;
      state = StateWord(response->task().state());
      if (look) RETURN_IF_ERROR(look(response->task()));
      if (response->finished()) return std::move(*response->mutable_task());
    } else if (!answered || ExitCodeOf(response.status()) != kExitUnavailable) {
      return response.status();
    } else {
      absl::SleepFor(std::clamp(deadline - absl::Now(), absl::ZeroDuration(), kPause));
    }
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(
          fmt::format("task {} is not finished after {}: it is {}; see penstock task get {}", id,
                      penstock::FormatDuration(context.globals.timeout.value_or(absl::ZeroDuration())), state, id));
    }
  }
}

int ReportOutcome(CommandContext& context, const v1::Task& task) {
  if (task.state() == v1::TASK_STATE_COMPLETED) return kExitOk;
  std::string what = fmt::format("task {} is {}", task.task_id(), StateWord(task.state()));
  if (task.state() == v1::TASK_STATE_DEAD) what += fmt::format(" ({})", ReasonWord(task.dead_reason()));
  const auto& attempts = task.attempts();
  if (!attempts.empty() && attempts.rbegin()->has_error()) what += ": " + ErrorLine(attempts.rbegin()->error());
  context.Error(absl::UnknownError(fmt::format("{}; see penstock task get {}", what, task.task_id())));
  return kExitFailed;
}

}  // namespace penstock::cli
