#ifndef PENSTOCK_BROKER_RPC_BULK_JOB_H_
#define PENSTOCK_BROKER_RPC_BULK_JOB_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/core/command.h"
#include "broker/rpc/page_token.h"
#include "broker/rpc/task_filter.h"
#include "broker/storage/records.h"
#include "penstock/v1/bulk_service.pb.h"

namespace penstock::broker {

struct BulkInquiry;

// One bulk job as its keeper (bulk_core.h) has it.
//
// A job looks for a page of tasks that fit, keeps which these are with the place of the next page (one record, so that
// a restart knows which tasks may have been changed without having been counted), changes them, and looks on.
struct BulkJob {
  using Done = std::function<void(absl::StatusOr<v1::BulkJob>)>;

  enum class Step : uint8_t {
    kNew,       // its first record is on its way
    kCheck,     // back after a restart: what has become of the pending tasks?
    kChecking,  // somebody else goes on, as in all that end in -ing
    kLook,      // for the next page
    kLooking,
    kKeep,  // the record
    kKeeping,
    kChange,  // the pending tasks
    kEnding,  // its last record is on its way
    kEnded,
    kParked,  // the broker stops: the record holds what is left to do
  };

  v1::BulkJob view;
  RequestId request;
  std::shared_ptr<const TaskFilter> filter;
  Step step = Step::kNew;
  PageToken next;
  bool at_end = false;
  std::deque<TaskId> pending;            // not yet posted, or refused
  std::shared_ptr<BulkInquiry> inquiry;  // kCheck: what was answered of them, before something was full
  size_t in_flight = 0;

  bool held = false;     // the engine went away under it: nothing more until it is read again
  bool paused = false;   // something was full: not at once again
  bool blocked = false;  // the mailbox is full
  bool stop = false;     // it shall end where it is
  absl::Status failure;  // why it cannot go on
  v1::BulkJobState ending = v1::BULK_JOB_STATE_UNSPECIFIED;
  Time end_time = 0;           // with `ending`
  absl::Duration kept;         // when its record was stored last; elapsed time
  double allowance = 1;        // tasks that its rate lets it change now
  absl::Duration allowed;      // until when `allowance` was filled up
  std::vector<Done> starting;  // who waits for its first record
  std::vector<Done> stopping;  // who waits for its end

  double rate() const { return view.spec().rate(); }
  bool LimitReached() const { return view.spec().limit() != 0 && view.matched() >= view.spec().limit(); }
  bool over() const { return step == Step::kEnded; }
  // Tasks of its next page: so many as it can change in about a second, so that what it does was read just before.
  uint32_t PageSize() const;
  // Fills up the allowance.
  void Allow(absl::Duration now);

  records::BulkJobRecord ToRecord() const;
};

// InvalidArgument: its filter is not valid any more; the view is there nevertheless. DataLoss: it is broken.
absl::StatusOr<std::shared_ptr<BulkJob>> FromRecord(const records::BulkJobRecord& record, const ApiLimits& limits);

// Whether the job has something to do about a task that fits its filter.
bool IsToChange(const v1::BulkJobSpec& spec, const v1::Task& task);

// What has become of a task that was pending when the broker went down.
enum class BulkFate : uint8_t { kToChange, kChanged, kSkipped };
// `task`: null: there is none any more.
BulkFate FateOf(const v1::BulkJobSpec& spec, const v1::Task* task, bool fits);

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_BULK_JOB_H_
