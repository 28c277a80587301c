#include "client/cli/bulk_run.h"

#include <algorithm>
#include <optional>

#include "client/cli/bulk_view.h"
#include "client/cli/connection.h"
#include "client/cli/exit_code.h"
#include "client/cli/output.h"
#include "client/cli/proto_time.h"
#include "common/random.h"
#include "common/status.h"
#include "common/units.h"
#include "fmt/format.h"
#include "fmt/ostream.h"

namespace penstock::cli {
namespace {

// How often a job is looked at: soon at first, for short ones.
constexpr absl::Duration kPauseMin = absl::Milliseconds(20);
constexpr absl::Duration kPauseMax = absl::Milliseconds(500);
// While the broker starts anew.
constexpr absl::Duration kAway = absl::Seconds(1);

// One line on a terminal, drawn over itself; nothing elsewhere.
class ProgressLine {
 public:
  explicit ProgressLine(Console& console) : console_(console) {}
  ~ProgressLine() {
    if (drawn_) console_.err << "\r\x1b[K" << std::flush;
  }
  void Show(const std::string& text) {
    if (!console_.err_is_terminal) return;
    drawn_ = true;
    const int columns = ColumnsOf(console_);
    fmt::print(console_.err, "\r\x1b[K{}", columns > 0 ? Cut(text, columns - 1) : text);
    console_.err.flush();
  }

 private:
  Console& console_;
  bool drawn_ = false;
};

absl::StatusOr<v1::BulkJob> GetJob(Connection& broker, const std::string& id) {
  v1::GetBulkJobRequest request;
  request.set_job_id(id);
  ASSIGN_OR_RETURN(v1::GetBulkJobResponse response, broker.Call(&BulkStub::GetBulkJob, request));
  return std::move(*response.mutable_job());
}

absl::StatusOr<v1::BulkJob> WaitUntilEnded(CommandContext& context, v1::BulkJob job) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  const absl::Time deadline = context.WaitDeadline();
  const std::string id = job.job_id();
  ProgressLine line(context.console);
  absl::Duration pause = kPauseMin;
  while (job.state() == v1::BULK_JOB_STATE_RUNNING) {
    line.Show(fmt::format("{}: {}", id, BulkCounts(job)));
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(
          fmt::format("bulk job {} goes on: {}; see penstock bulk get {}", id, BulkCounts(job), id));
    }
    absl::SleepFor(std::clamp(deadline - absl::Now(), absl::ZeroDuration(), pause));
    pause = std::min(pause * 2, kPauseMax);
    absl::StatusOr<v1::BulkJob> next = GetJob(*broker, id);
    if (next.ok()) {
      job = *std::move(next);
    } else if (ExitCodeOf(next.status()) == kExitUnavailable) {
      // It goes on when the broker is back.
      line.Show(fmt::format("{}: the broker is away", id));
      pause = kAway;
    } else {
      return next.status();
    }
  }
  return job;
}

absl::StatusOr<int> Report(CommandContext& context, const v1::BulkJob& job) {
  RETURN_IF_ERROR(PrintMessage(context, job, job.job_id(), [&] {
    return fmt::format("{} {}: {}\n", job.job_id(), BulkStateWord(job.state()), BulkCounts(job));
  }));
  if (job.state() == v1::BULK_JOB_STATE_DONE) return kExitOk;
  context.Error(absl::UnknownError(job.error().empty()
                                       ? fmt::format("bulk job {} was {}", job.job_id(), BulkStateWord(job.state()))
                                       : fmt::format("bulk job {} failed: {}", job.job_id(), job.error())));
  return kExitFailed;
}

}  // namespace

absl::StatusOr<int> RunBulkJob(CommandContext& context, const v1::BulkJobSpec& spec, bool detach) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  v1::StartBulkJobRequest request;
  *request.mutable_spec() = spec;
  request.set_request_id(RandomHexId());
  ASSIGN_OR_RETURN(v1::StartBulkJobResponse response, broker->Call(&BulkStub::StartBulkJob, request));
  v1::BulkJob& job = *response.mutable_job();
  if (detach) {
    RETURN_IF_ERROR(PrintMessage(context, job, job.job_id(), [&] {
      return fmt::format("{} started; penstock bulk get {} shows how far it is\n", job.job_id(), job.job_id());
    }));
    return kExitOk;
  }
  ASSIGN_OR_RETURN(const v1::BulkJob ended, WaitUntilEnded(context, std::move(job)));
  return Report(context, ended);
}

absl::StatusOr<int> WaitForBulkJob(CommandContext& context, const std::string& id) {
  ASSIGN_OR_RETURN(Connection * broker, context.Broker());
  ASSIGN_OR_RETURN(v1::BulkJob job, GetJob(*broker, id));
  ASSIGN_OR_RETURN(const v1::BulkJob ended, WaitUntilEnded(context, std::move(job)));
  return Report(context, ended);
}

}  // namespace penstock::cli
