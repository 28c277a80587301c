#include "broker/rpc/task_filter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "common/name_hash.h"
#include "common/status.h"
#include "common/text.h"
#include "fmt/format.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "xxhash.h"

namespace penstock::broker {
namespace {

Time TimeOf(const google::protobuf::Timestamp& time) { return time.seconds() * kSecond + time.nanos() / 1'000; }

// Of texts that are equal but for the way they were written on the wire: the same.
uint64_t HashOf(const v1::TaskFilter& fields) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    fields.SerializeToCodedStream(&out);
  }
  return XXH3_64bits(bytes.data(), bytes.size());
}

bool Contains(std::string_view text, std::string_view small_letters) {
  return absl::StrContains(absl::AsciiStrToLower(ToAbsl(text)), ToAbsl(small_letters));
}

}  // namespace

absl::StatusOr<TaskFilter> TaskFilter::Make(const FieldPath& at, const v1::TaskFilter& fields,
                                            const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckName(FieldPath(at, "queue"), fields.queue(), limits.name));
  if (!fields.type().empty()) RETURN_IF_ERROR(CheckName(FieldPath(at, "type"), fields.type(), limits.name));
  for (int i = 0; i < fields.states_size(); ++i) {
    if (!v1::TaskState_IsValid(fields.states(i)) || fields.states(i) == v1::TASK_STATE_UNSPECIFIED) {
      return BadField(FieldPath(at, "states", i), "is no state of a task");
    }
  }
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "tag"), fields.tag(), 0, limits.tag));
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "key"), fields.key(), 0, limits.key));
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "group"), fields.group(), 0, limits.key));
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "error"), fields.error(), 0, limits.label));
  TaskFilter filter;
  filter.fields_ = fields;
  if (fields.has_created_from()) {
    ASSIGN_OR_RETURN(filter.created_from_, CheckTime(FieldPath(at, "created_from"), fields.created_from()));
  }
  if (fields.has_created_before()) {
    const FieldPath field(at, "created_before");
    ASSIGN_OR_RETURN(filter.created_before_, CheckTime(field, fields.created_before()));
    if (filter.created_before_ <= filter.created_from_) return BadField(field, "must be after created_from");
  }
  if (!fields.where().empty()) {
    auto where = Where::Parse(fields.where());
    if (!where.ok()) return BadField(FieldPath(at, "where"), ToStd(where.status().message()));
    filter.where_ = *std::move(where);
  }
  filter.error_ = absl::AsciiStrToLower(fields.error());
  if (!fields.key().empty()) filter.key_ = NameHash(fields.key());
  if (!fields.group().empty()) filter.group_ = NameHash(fields.group());
  filter.hash_ = HashOf(fields);
  return filter;
}

bool TaskFilter::Wants(v1::TaskState state) const {
  const auto& states = fields_.states();
  return states.empty() || std::find(states.begin(), states.end(), static_cast<int>(state)) != states.end();
}

bool TaskFilter::MayFit(v1::TaskState state) const {
  if (!Wants(state)) return false;
  const bool needs_spec = !fields_.tag().empty() || key_ != 0 || group_ != 0 || where_;
  switch (state) {
    case v1::TASK_STATE_COMPLETED:
      return !needs_spec && error_.empty();
    case v1::TASK_STATE_CANCELLED:
      return !needs_spec;
    default:
      return true;
  }
}

TaskParts TaskFilter::parts() const {
  TaskParts parts;
  parts.payload = where_.has_value();
  return parts;
}

absl::StatusOr<bool> TaskFilter::Fits(const v1::Task& task, TaskReader* reader) const {
  const v1::TaskSpec& spec = task.spec();
  if (!MayFit(task.state()) || !FitsCreateTime(TimeOf(task.create_time()))) return false;
  if (!fields_.type().empty() && spec.type() != fields_.type()) return false;
  if (!fields_.key().empty() && spec.key() != fields_.key()) return false;
  if (!fields_.group().empty() && spec.group() != fields_.group()) return false;
  if (!fields_.tag().empty() && std::find(spec.tags().begin(), spec.tags().end(), fields_.tag()) == spec.tags().end()) {
    return false;
  }
  if (settled_by_ && task.has_end_time() && TimeOf(task.end_time()) > *settled_by_) return false;
  ASSIGN_OR_RETURN(const bool fits, FitsLastAttempt(task, reader));
  return fits && (!where_ || where_->Fits(spec.payload()));
}

absl::StatusOr<bool> TaskFilter::FitsLastAttempt(const v1::Task& task, TaskReader* reader) const {
  const bool must_be_settled = settled_by_ && task.state() == v1::TASK_STATE_RETRYABLE;
  if (error_.empty() && !must_be_settled) return true;
  const std::optional<TaskId> id = TaskId::Parse(task.task_id());
  if (!id) return absl::InternalError("a task without an id");
  ASSIGN_OR_RETURN(const std::optional<records::AttemptRecord> last, reader->LastAttempt(*id));
  if (!last) return error_.empty();
  if (must_be_settled && last->end_time() > *settled_by_) return false;
  if (error_.empty()) return true;
  const bool failed = last->outcome() == v1::ATTEMPT_OUTCOME_FAILED || last->outcome() == v1::ATTEMPT_OUTCOME_LOST;
  return failed && (Contains(last->error_type(), error_) || Contains(last->error_message(), error_));
}

}  // namespace penstock::broker
