#include "client/fake_bulk.h"

#include <algorithm>

#include "common/status.h"
#include "common/status_details.h"

namespace penstock {
namespace {

std::vector<TaskState> StatesOf(BulkAction action) {
  switch (action) {
    case BulkAction::kCancel:
      return {TaskState::kScheduled, TaskState::kAvailable, TaskState::kRunning, TaskState::kRetryable};
    case BulkAction::kRetry:
      return {TaskState::kScheduled, TaskState::kRetryable, TaskState::kDead};
    case BulkAction::kDelete:
      return {TaskState::kScheduled, TaskState::kAvailable, TaskState::kRetryable, TaskState::kDead,
              TaskState::kCancelled};
  }
  return {};
}

}  // namespace

absl::StatusOr<BulkJobInfo> FakeBulk::Start(BulkJobSpec spec, const std::string& request_id) {
  const std::vector<TaskState> valid = StatesOf(spec.action);
  if (spec.filter.states.empty()) spec.filter.states = valid;
  for (TaskState state : spec.filter.states) {
    if (std::find(valid.begin(), valid.end(), state) == valid.end()) {
      return absl::FailedPreconditionError(std::string("the action is not for tasks that are ") + ToString(state));
    }
  }
  if (!spec.reason.empty() && spec.action != BulkAction::kCancel) {
    return InvalidField("spec.reason", "is kept with cancelled tasks only: leave it out");
  }
  if (!request_id.empty()) {
    MutexLock lock(mu_);
    const auto known = requests_.find(request_id);
    if (known != requests_.end()) {
      return *std::find_if(jobs_.begin(), jobs_.end(), [&](const BulkJobInfo& job) { return job.id == known->second; });
    }
  }
  ASSIGN_OR_RETURN(std::vector<TaskId> tasks, find_(spec.filter));
  if (spec.limit > 0 && tasks.size() > spec.limit) tasks.resize(spec.limit);
  BulkJobInfo job;
  job.state = BulkJobState::kDone;
  job.create_time = absl::Now();
  job.end_time = job.create_time;
  job.seen = job.matched = tasks.size();
  if (!spec.dry_run) {
    for (TaskId task : tasks) ++(change_(spec, task).ok() ? job.changed : job.skipped);
  }
  job.spec = std::move(spec);
  MutexLock lock(mu_);
  job.id = "b" + std::to_string(jobs_.size() + 1);
  if (!request_id.empty()) requests_[request_id] = job.id;
  return jobs_.emplace_back(std::move(job));
}

absl::StatusOr<BulkJobInfo> FakeBulk::Get(const std::string& id) {
  MutexLock lock(mu_);
  for (const BulkJobInfo& job : jobs_) {
    if (job.id == id) return job;
  }
  return absl::NotFoundError("there is no bulk job " + id);
}

absl::StatusOr<std::vector<BulkJobInfo>> FakeBulk::List() {
  MutexLock lock(mu_);
  return std::vector<BulkJobInfo>(jobs_.rbegin(), jobs_.rend());
}

absl::StatusOr<BulkJobInfo> FakeBulk::Stop(const std::string& id) {
  ASSIGN_OR_RETURN(const BulkJobInfo job, Get(id));
  return absl::FailedPreconditionError("bulk job " + job.id + " has ended already");
}

}  // namespace penstock
