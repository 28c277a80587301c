#ifndef PENSTOCK_CLIENT_BULK_H_
#define PENSTOCK_CLIENT_BULK_H_

// Bulk jobs: the broker cancels, retries or deletes all tasks that a filter names. docs/bulk.md says what they do;
// fields, defaults and limits: proto/penstock/v1/bulk_service.proto.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/task_filter.h"

namespace penstock {

enum class BulkAction {
  kCancel = 1,  // tasks that wait or run
  kRetry = 2,   // scheduled and retryable ones run now, dead ones are redriven
  kDelete = 3,  // tasks that wait, are dead or are cancelled
};

struct BulkJobSpec {
  BulkAction action = BulkAction::kCancel;
  TaskFilter filter = {};   // its states: those that the action is for; empty: all of these
  double rate = 0;          // tasks a second; 0: as fast as the broker's other work allows
  uint64_t limit = 0;       // done when so many have fitted; 0: all
  std::string reason = {};  // kept with the tasks that it cancels
  bool dry_run = false;     // only count what fits
};

enum class BulkJobState { kUnknown = 0, kRunning = 1, kDone = 2, kStopped = 3, kFailed = 4 };

struct BulkJobInfo {
  std::string id = {};
  BulkJobSpec spec = {};
  BulkJobState state = BulkJobState::kUnknown;
  absl::Time create_time = {};
  std::optional<absl::Time> end_time = {};
  uint64_t seen = 0;       // tasks that it looked at
  uint64_t matched = 0;    // of those, that fitted
  uint64_t changed = 0;    // of those, that were changed
  uint64_t skipped = 0;    // of those, that could not be: they had begun to run, or were finished, meanwhile
  std::string error = {};  // why it failed

  bool ended() const { return state != BulkJobState::kRunning && state != BulkJobState::kUnknown; }
};

// Client::Bulk(). Any thread. Calls block, at most for ClientOptions::timeout, and while the broker is away they are
// repeated or not, as ClientOptions::when_unavailable says. InvalidArgument names the field (FieldOf).
//
//   penstock::BulkJobSpec spec;
//   spec.filter = {.queue = "mail", .where = "payload.customer == 42"};
//   const auto job = client->Bulk().Start(spec);
//   const auto ended = client->Bulk().Wait(job->id, absl::Minutes(10));
class BulkClient {
 public:
  virtual ~BulkClient() = default;

  // Begins a job, which goes on by itself, also after a restart of the broker. With a request id of the caller's the
  // same call, made again later, answers the same job; without, the call has one of its own, so that it is safe when
  // its answer gets lost. NotFound: no such queue. FailedPrecondition: the action is not for the filter's states.
  // ResourceExhausted: limits.bulk_jobs.
  virtual absl::StatusOr<BulkJobInfo> Start(BulkJobSpec spec, const std::string& request_id = "") = 0;
  // NotFound: no such job, or it ended long ago.
  virtual absl::StatusOr<BulkJobInfo> Get(const std::string& id) = 0;
  // Those that run, and those that ended in the last 24 h; the newest first.
  virtual absl::StatusOr<std::vector<BulkJobInfo>> List() = 0;
  // Ends a job where it is; what it did stays done. NotFound. FailedPrecondition: it has ended; also when the first
  // call was heard and its answer got lost.
  virtual absl::StatusOr<BulkJobInfo> Stop(const std::string& id) = 0;
  // Returns when the job has ended, however it did. DeadlineExceeded: it runs still.
  absl::StatusOr<BulkJobInfo> Wait(const std::string& id, absl::Duration timeout);
};

}  // namespace penstock

#endif  // PENSTOCK_CLIENT_BULK_H_
