#ifndef PENSTOCK_BROKER_RPC_TASK_FILTER_H_
#define PENSTOCK_BROKER_RPC_TASK_FILTER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "broker/core/core_types.h"
#include "broker/rpc/api_limits.h"
#include "broker/rpc/fields.h"
#include "broker/rpc/task_reader.h"
#include "broker/rpc/where.h"
#include "penstock/v1/task.pb.h"

namespace penstock::broker {

// Which tasks are meant: a penstock.v1.TaskFilter whose fields have been checked. Lists and bulk jobs share it; who
// goes through the tasks is task_walk.h. Immutable; any thread.
class TaskFilter {
 public:
  // InvalidArgument names the field below `at`.
  static absl::StatusOr<TaskFilter> Make(const FieldPath& at, const v1::TaskFilter& filter, const ApiLimits& limits);

  const v1::TaskFilter& fields() const { return fields_; }
  const std::string& queue() const { return fields_.queue(); }
  const std::string& type() const { return fields_.type(); }
  // NameHash of the FIFO key and of the group; 0: all.
  uint64_t key() const { return key_; }
  uint64_t group() const { return group_; }
  // Tells one filter from another, always alike.
  uint64_t hash() const { return hash_; }

  // Whether the state is asked for.
  bool Wants(v1::TaskState state) const;
  // Whether a task in this state can fit: of finished ones little is kept.
  bool MayFit(v1::TaskState state) const;
  // Whether a task that no worker ever had can fit.
  bool MayFitUntouched() const { return error_.empty(); }
  bool FitsCreateTime(Time time) const { return time >= created_from_ && time < created_before_; }
  // What has to be read of a task for Fits.
  TaskParts parts() const;
  // Looks at what costs least first. `task` was read with parts(); `reader` reads what else it takes.
  absl::StatusOr<bool> Fits(const v1::Task& task, TaskReader* reader) const;

  // Only tasks that have been as they are since this time: for whoever changes what fits, and must not meet again what
  // failed a second time. Counts for retryable and dead tasks.
  void set_settled_by(Time time) { settled_by_ = time; }

 private:
  TaskFilter() = default;
  absl::StatusOr<bool> FitsLastAttempt(const v1::Task& task, TaskReader* reader) const;

  v1::TaskFilter fields_;
  Time created_from_ = INT64_MIN;
  Time created_before_ = INT64_MAX;
  std::string error_;  // in small letters
  std::optional<Where> where_;
  uint64_t key_ = 0;
  uint64_t group_ = 0;
  uint64_t hash_ = 0;
  std::optional<Time> settled_by_;
};

}  // namespace penstock::broker

#endif  // PENSTOCK_BROKER_RPC_TASK_FILTER_H_
