#include "broker/rpc/bulk_job.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "broker/rpc/convert_bulk.h"
#include "broker/rpc/fields.h"
#include "common/status.h"

namespace penstock::broker {
namespace {

constexpr uint32_t kPageMax = 256;
// Of the tasks of a second, so many may be changed at once after a rest.
constexpr double kBurst = 0.1;

}  // namespace

uint32_t BulkJob::PageSize() const {
  uint64_t size = kPageMax;
  if (rate() > 0) size = static_cast<uint64_t>(std::clamp(std::ceil(rate()), 1.0, double{kPageMax}));
  if (view.spec().limit() != 0)
    size = std::min(size, view.spec().limit() - std::min(view.spec().limit(), view.matched()));
  return static_cast<uint32_t>(std::max<uint64_t>(size, 1));
}

void BulkJob::Allow(absl::Duration now) {
  const double seconds = std::max(0.0, absl::ToDoubleSeconds(now - allowed));
  allowance = std::min(std::max(1.0, rate() * kBurst), allowance + rate() * seconds);
  allowed = now;
}

records::BulkJobRecord BulkJob::ToRecord() const {
  records::BulkJobRecord record;
  v1::BulkJob job = view;
  if (ending != v1::BULK_JOB_STATE_UNSPECIFIED) {
    job.set_state(ending);
    SetTimestamp(end_time, job.mutable_end_time());
    job.set_error(std::string(failure.message()));
  } else {
    record.set_page_token(next.phase == 0 ? std::string() : next.ToString());
    record.set_at_end(at_end);
    for (TaskId task : pending) record.add_pending_task_ids(task.value());
  }
  record.set_job(job.SerializeAsString());
  record.set_request_high(request.high);
  record.set_request_low(request.low);
  return record;
}

absl::StatusOr<std::shared_ptr<BulkJob>> FromRecord(const records::BulkJobRecord& record, const ApiLimits& limits) {
  auto job = std::make_shared<BulkJob>();
  if (!job->view.ParseFromString(record.job())) return absl::DataLossError("a stored BulkJob is broken");
  job->request = {record.request_high(), record.request_low()};
  if (job->view.state() != v1::BULK_JOB_STATE_RUNNING) {
    job->step = BulkJob::Step::kEnded;
    ASSIGN_OR_RETURN(job->end_time, CheckTime(FieldPath("end_time"), job->view.end_time()));
    return job;
  }
  ASSIGN_OR_RETURN(job->next, PageToken::Parse(record.page_token()));
  job->at_end = record.at_end();
  for (uint64_t task : record.pending_task_ids()) job->pending.push_back(TaskId(task));
  job->step = job->pending.empty() ? BulkJob::Step::kLook : BulkJob::Step::kCheck;
  ASSIGN_OR_RETURN(const Time begin, CheckTime(FieldPath("create_time"), job->view.create_time()));
  auto filter = ToBulkFilter(job->view.spec(), limits, begin);
  if (filter.ok()) {
    job->filter = *std::move(filter);
  } else {
    // A limit was lowered meanwhile.
    job->failure = filter.status();
    job->pending.clear();
    job->step = BulkJob::Step::kLook;
  }
  return job;
}

bool IsToChange(const v1::BulkJobSpec& spec, const v1::Task& task) {
  // A running task that was asked to stop is not asked again.
  return spec.action() != v1::BULK_ACTION_CANCEL || !task.cancel_requested();
}

BulkFate FateOf(const v1::BulkJobSpec& spec, const v1::Task* task, bool fits) {
  if (task == nullptr) return spec.action() == v1::BULK_ACTION_DELETE ? BulkFate::kChanged : BulkFate::kSkipped;
  if (fits && IsToChange(spec, *task)) return BulkFate::kToChange;
  switch (spec.action()) {
    case v1::BULK_ACTION_CANCEL:
      return task->cancel_requested() || task->state() == v1::TASK_STATE_CANCELLED ? BulkFate::kChanged
                                                                                   : BulkFate::kSkipped;
    case v1::BULK_ACTION_RETRY:
      return task->state() == v1::TASK_STATE_CANCELLED ? BulkFate::kSkipped : BulkFate::kChanged;
    default:
      return BulkFate::kSkipped;
  }
}

}  // namespace penstock::broker
