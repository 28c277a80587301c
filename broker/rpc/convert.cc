#include "broker/rpc/convert.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "broker/rpc/fields.h"
#include "broker/rpc/wire_writer.h"
#include "broker/storage/labels.h"
#include "common/coding.h"
#include "common/random.h"
#include "common/status.h"
#include "common/status_details.h"
#include "fmt/format.h"
#include "xxhash.h"

namespace penstock::broker {
namespace {

using google::protobuf::RepeatedPtrField;

// Request ids of unary calls and of frames are apart: the first byte says which.
RequestId HashId(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

absl::StatusOr<RequestId> CallId(const std::string& request_id, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckSize(FieldPath("request_id"), request_id, 0, limits.request_id));
  return request_id.empty() ? RequestId{} : HashId("u" + request_id);
}

RequestId FrameId(std::string_view producer_id, uint64_t frame_number) {
  std::string bytes = "s";
  bytes += producer_id;
  PutBig64(&bytes, frame_number);
  return HashId(bytes);
}

absl::Status CheckHeaders(const FieldPath& field, const v1::TaskSpec& spec, const ApiLimits& limits) {
  size_t size = 0;
  for (const auto& [key, value] : spec.headers()) {
    if (key.empty()) return BadField(field, "has an empty key");
    if (key.size() > limits.key) {
      return BadField(field, fmt::format("keys must be at most {} bytes, one is {}", limits.key, key.size()));
    }
    size += key.size() + value.size();
  }
  if (size <= limits.headers) return absl::OkStatus();
  return BadField(field, fmt::format("must be at most {} bytes together, are {}", limits.headers, size));
}

absl::Status ConvertStart(const FieldPath& at, const v1::TaskSpec& spec, const ApiLimits& limits, Time now,
                          NewTask* task) {
  if (spec.has_delay()) {
    ASSIGN_OR_RETURN(task->delay, CheckSpan(FieldPath(at, "delay"), spec.delay(), 0, limits.start_max));
  }
  if (spec.has_run_at()) {
    const FieldPath field(at, "run_at");
    ASSIGN_OR_RETURN(const Time run_at, CheckTime(field, spec.run_at()));
    if (run_at > now + limits.start_max) return BadField(field, "is more than 100 years ahead");
    task->run_at = std::max<Time>(run_at, 0);
  }
  if (spec.has_expire_at()) {
    const FieldPath field(at, "expire_at");
    ASSIGN_OR_RETURN(task->expire_at, CheckTime(field, spec.expire_at()));
    if (spec.has_run_at() && task->expire_at <= task->run_at) return BadField(field, "must be after run_at");
    // 1970 and before is as far past as any time that has passed; the core's times are not negative.
    task->expire_at = std::max<Time>(task->expire_at, 1);
  }
  if (spec.has_start_within()) {
    const FieldPath field(at, "start_within");
    if (spec.has_expire_at()) return BadField(field, "says the same as expire_at: leave one of them out");
    ASSIGN_OR_RETURN(task->start_within, CheckSpan(field, spec.start_within(), kMilli, limits.postpone_max));
  }
  return absl::OkStatus();
}

absl::Status ConvertUniqueKey(const FieldPath& at, const v1::UniqueKey& key, const ApiLimits& limits, NewTask* task) {
  if (key.has_window()) {
    ASSIGN_OR_RETURN(task->unique_window, CheckSpan(FieldPath(at, "window"), key.window(), 0, limits.postpone_max));
  }
  if (!v1::UniqueScope_IsValid(key.scope())) {
    return BadField(FieldPath(at, "scope"), fmt::format("{} is no scope", static_cast<int>(key.scope())));
  }
  if (key.scope() != v1::UNIQUE_SCOPE_UNSPECIFIED && task->unique_window > 0) {
    return BadField(FieldPath(at, "scope"), "is for keys without a window: the window says how long they hold");
  }
  task->unique_waiting = key.scope() == v1::UNIQUE_SCOPE_WAITING;
  if (!v1::UniqueConflict_IsValid(key.conflict())) {
    return BadField(FieldPath(at, "conflict"), fmt::format("{} is no conflict", static_cast<int>(key.conflict())));
  }
  if (key.conflict() != v1::UNIQUE_CONFLICT_UNSPECIFIED) {
    task->unique_conflict = static_cast<UniqueConflict>(key.conflict());
  }
  return absl::OkStatus();
}

absl::Status CheckNames(const FieldPath& at, const v1::TaskSpec& spec, const ApiLimits& limits) {
  RETURN_IF_ERROR(CheckName(FieldPath(at, "queue"), spec.queue(), limits.name));
  return CheckName(FieldPath(at, "type"), spec.type(), limits.name);
}

// Of a spec that has nothing but what most tasks have, in the order of its fields.
size_t PlainSize(const v1::TaskSpec& spec) {
  size_t size = WireWriter::SizeOfBytes(v1::TaskSpec::kQueueFieldNumber, spec.queue().size()) +
                WireWriter::SizeOfBytes(v1::TaskSpec::kTypeFieldNumber, spec.type().size());
  if (!spec.payload().empty()) {
    size += WireWriter::SizeOfBytes(v1::TaskSpec::kPayloadFieldNumber, spec.payload().size());
  }
  return size;
}

void WritePlain(const v1::TaskSpec& spec, char* to) {
  WireWriter writer(to);
  writer.Bytes(v1::TaskSpec::kQueueFieldNumber, spec.queue());
  writer.Bytes(v1::TaskSpec::kTypeFieldNumber, spec.type());
  if (!spec.payload().empty()) writer.Bytes(v1::TaskSpec::kPayloadFieldNumber, spec.payload());
}

// Everything but the names and the payload; nothing of a plain spec.
absl::Status ConvertOptions(const FieldPath& at, const v1::TaskSpec& spec, const ApiLimits& limits, Time now,
                            NewTask* task) {
  RETURN_IF_ERROR(CheckSize(FieldPath(at, "content_type"), spec.content_type(), 0, limits.content_type));
  if (!spec.headers().empty()) RETURN_IF_ERROR(CheckHeaders(FieldPath(at, "headers"), spec, limits));
  if (spec.has_priority()) {
    RETURN_IF_ERROR(CheckNumber(FieldPath(at, "priority"), spec.priority(), 0, 9));
    task->priority = static_cast<uint8_t>(spec.priority());
  }
  RETURN_IF_ERROR(ConvertStart(at, spec, limits, now, task));
  if (spec.has_run_timeout()) {
    ASSIGN_OR_RETURN(task->run_timeout,
                     CheckSpan(FieldPath(at, "run_timeout"), spec.run_timeout(), kMilli, limits.run_timeout_max));
  }
  if (spec.has_life_timeout()) {
    ASSIGN_OR_RETURN(task->life_timeout,
                     CheckSpan(FieldPath(at, "life_timeout"), spec.life_timeout(), kMilli, limits.postpone_max));
  }
  if (spec.has_retry_policy()) {
    ASSIGN_OR_RETURN(task->retry_change,
                     ToRetryPolicyChange(FieldPath(at, "retry_policy"), spec.retry_policy(), limits));
  }
  if (spec.has_unique_key()) {
    const FieldPath field(at, "unique_key");
    RETURN_IF_ERROR(CheckSize(FieldPath(field, "key"), spec.unique_key().key(), 1, limits.key));
    RETURN_IF_ERROR(ConvertUniqueKey(field, spec.unique_key(), limits, task));
  }
  if (!spec.key().empty()) RETURN_IF_ERROR(CheckSize(FieldPath(at, "key"), spec.key(), 1, limits.key));
  if (!spec.group().empty()) RETURN_IF_ERROR(CheckSize(FieldPath(at, "group"), spec.group(), 1, limits.key));
  if (spec.has_cost()) {
    RETURN_IF_ERROR(CheckNumber(FieldPath(at, "cost"), spec.cost(), 1, limits.cost));
    task->cost = static_cast<uint16_t>(spec.cost());
  }
  if (!spec.worker_labels().empty()) {
    RETURN_IF_ERROR(
        CheckLabels(FieldPath(at, "worker_labels"), spec.worker_labels(), limits.task_labels, limits.label_part));
  }
  if (spec.has_result_retention()) {
    ASSIGN_OR_RETURN(task->result_retention,
                     CheckSpan(FieldPath(at, "result_retention"), spec.result_retention(), 0, limits.postpone_max));
  }
  if (static_cast<size_t>(spec.tags_size()) > limits.tags) {
    return BadField(FieldPath(at, "tags"), fmt::format("must be at most {}, are {}", limits.tags, spec.tags_size()));
  }
  for (int i = 0; i < spec.tags_size(); ++i) {
    RETURN_IF_ERROR(CheckSize(FieldPath(at, "tags", i), spec.tags(i), 1, limits.tag));
  }
  return absl::OkStatus();
}

// Lays texts one behind the other into a buffer that was made large enough.
class TextBuffer {
 public:
  explicit TextBuffer(size_t size) : bytes_(std::make_shared_for_overwrite<char[]>(size)), next_(bytes_.get()) {}

  std::string_view Copy(std::string_view text) {
    if (text.empty()) return {};
    char* begin = Take(text.size());
    std::memcpy(begin, text.data(), text.size());
    return {begin, text.size()};
  }
  // REQUIRES: ByteSizeLong was called since the last change, and the spec has names.
  std::string_view Serialize(const v1::TaskSpec& spec) {
    const size_t size = static_cast<size_t>(spec.GetCachedSize());
    char* begin = Take(size);
    if (size == PlainSize(spec)) {
      WritePlain(spec, begin);  // as Protobuf does, which looks at each of twenty fields
    } else {
      spec.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(begin));
    }
    return {begin, size};
  }
  std::shared_ptr<const void> keepalive() const { return bytes_; }

 private:
  char* Take(size_t size) {
    char* begin = next_;
    next_ += size;
    return begin;
  }

  std::shared_ptr<char[]> bytes_;
  char* next_;
};

// A hash of what makes tasks what they are. Not of the serialized specs: a client that sends a request again may order
// headers otherwise.
class ContentHash {
 public:
  // `same_names`: queue and type are those of the task before.
  void Add(const v1::TaskSpec& spec, bool same_names) {
    if (!same_names) {
      queue_ = Hash(spec.queue());
      type_ = Hash(spec.type());
    }
    for (uint64_t part : {queue_, type_, Hash(spec.unique_key().key()), Hash(spec.payload())}) Mix(part);
    if (!spec.key().empty()) Mix(Hash(spec.key()));
    if (!spec.group().empty()) Mix(Hash(spec.group()));
    if (!spec.worker_labels().empty()) Mix(Hash(LabelText(spec.worker_labels())));
  }
  uint64_t value() const { return hash_; }

 private:
  // With a seed, long texts would cost far more.
  static uint64_t Hash(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }
  void Mix(uint64_t part) { hash_ = MixBits(hash_ ^ part); }

  uint64_t hash_ = 0;
  uint64_t queue_ = 0;
  uint64_t type_ = 0;
};

template <class PathOf>
absl::StatusOr<Sized<EnqueueCommand>> ConvertTasks(size_t count, const v1::TaskSpec* const* specs, PathOf path_of,
                                                   const ApiLimits& limits, Time now) {
  Sized<EnqueueCommand> sized;
  std::vector<NewTask>& tasks = sized.command.tasks;
  tasks.resize(count);
  size_t size = 0;
  for (size_t i = 0; i < count; ++i) {
    const v1::TaskSpec& spec = *specs[i];
    const FieldPath at = path_of(i);
    // Neighbours mostly agree: their names are checked and copied once. Until then those of a task that agrees with the
    // one before it are empty.
    if (i == 0 || spec.queue() != specs[i - 1]->queue() || spec.type() != specs[i - 1]->type()) {
      RETURN_IF_ERROR(CheckNames(at, spec, limits));
      tasks[i].queue = spec.queue();
      tasks[i].type = spec.type();
      size += spec.queue().size() + spec.type().size();
    }
    RETURN_IF_ERROR(CheckSize(FieldPath(at, "payload"), spec.payload(), 0, limits.payload));
    const size_t spec_size = spec.ByteSizeLong();
    size += spec_size;
    if (spec_size == PlainSize(spec)) continue;
    RETURN_IF_ERROR(ConvertOptions(at, spec, limits, now, &tasks[i]));
    size += spec.unique_key().key().size() + spec.key().size() + spec.group().size();
    if (!spec.worker_labels().empty()) size += LabelText(spec.worker_labels()).size();
  }
  TextBuffer buffer(size);
  ContentHash hash;
  for (size_t i = 0; i < count; ++i) {
    const v1::TaskSpec& spec = *specs[i];
    NewTask& task = tasks[i];
    const bool same_names = task.queue.empty();
    task.queue = same_names ? tasks[i - 1].queue : buffer.Copy(spec.queue());
    task.type = same_names ? tasks[i - 1].type : buffer.Copy(spec.type());
    task.unique_key = buffer.Copy(spec.unique_key().key());
    if (!spec.key().empty()) task.key = buffer.Copy(spec.key());
    if (!spec.group().empty()) task.group = buffer.Copy(spec.group());
    if (!spec.worker_labels().empty()) task.labels = buffer.Copy(LabelText(spec.worker_labels()));
    task.spec = buffer.Serialize(spec);
    hash.Add(spec, same_names);
  }
  sized.command.content_hash = hash.value();
  sized.command.keepalive = buffer.keepalive();
  sized.bytes = sizeof(EnqueueCommand) + count * sizeof(NewTask) + size;
  return sized;
}

absl::StatusOr<Sized<EnqueueCommand>> ConvertMany(const RepeatedPtrField<v1::TaskSpec>& tasks, const ApiLimits& limits,
                                                  Time now) {
  if (tasks.empty()) return BadField(FieldPath("tasks"), "is required");
  if (static_cast<size_t>(tasks.size()) > limits.tasks_per_call) {
    return BadField(FieldPath("tasks"), fmt::format("must be 1 to {}, are {}", limits.tasks_per_call, tasks.size()));
  }
  auto path_of = [](size_t i) { return FieldPath("tasks", static_cast<int>(i)); };
  return ConvertTasks(static_cast<size_t>(tasks.size()), tasks.data(), path_of, limits, now);
}

}  // namespace

absl::StatusOr<Sized<EnqueueCommand>> ToCommand(const v1::EnqueueRequest& request, const ApiLimits& limits, Time now) {
  ASSIGN_OR_RETURN(const RequestId request_id, CallId(request.request_id(), limits));
  if (!request.has_task()) return BadField(FieldPath("task"), "is required");
  const v1::TaskSpec* spec = &request.task();
  ASSIGN_OR_RETURN(Sized<EnqueueCommand> sized, ConvertTasks(
                                                    1, &spec, [](size_t) { return FieldPath("task"); }, limits, now));
  sized.command.request_id = request_id;
  return sized;
}

absl::StatusOr<Sized<EnqueueCommand>> ToCommand(const v1::EnqueueManyRequest& request, const ApiLimits& limits,
                                                Time now) {
  ASSIGN_OR_RETURN(const RequestId request_id, CallId(request.request_id(), limits));
  ASSIGN_OR_RETURN(Sized<EnqueueCommand> sized, ConvertMany(request.tasks(), limits, now));
  sized.command.request_id = request_id;
  return sized;
}

absl::StatusOr<Sized<EnqueueCommand>> ToCommand(const v1::EnqueueStreamRequest& request, std::string_view producer_id,
                                                const ApiLimits& limits, Time now) {
  if (request.frame_number() == 0) return BadField(FieldPath("frame_number"), "is required and counts from 1");
  ASSIGN_OR_RETURN(Sized<EnqueueCommand> sized, ConvertMany(request.tasks(), limits, now));
  sized.command.request_id = FrameId(producer_id, request.frame_number());
  return sized;
}

absl::StatusOr<NewTask> ToTask(const FieldPath& field, const v1::TaskSpec& spec, const ApiLimits& limits, Time now) {
  NewTask task;
  RETURN_IF_ERROR(CheckNames(field, spec, limits));
  RETURN_IF_ERROR(CheckSize(FieldPath(field, "payload"), spec.payload(), 0, limits.payload));
  RETURN_IF_ERROR(ConvertOptions(field, spec, limits, now, &task));
  task.queue = spec.queue();
  task.type = spec.type();
  task.unique_key = spec.unique_key().key();
  task.key = spec.key();
  task.group = spec.group();
  return task;
}

absl::StatusOr<ConvertedTasks> ToTasks(const std::vector<const v1::TaskSpec*>& specs,
                                       absl::FunctionRef<FieldPath(size_t)> path_of, const ApiLimits& limits,
                                       Time now) {
  ASSIGN_OR_RETURN(Sized<EnqueueCommand> sized, ConvertTasks(specs.size(), specs.data(), path_of, limits, now));
  auto kept = std::make_shared<EnqueueCommand>(std::move(sized.command));
  return ConvertedTasks{std::shared_ptr<const std::vector<NewTask>>(kept, &kept->tasks), sized.bytes};
}

absl::StatusOr<DeleteTaskCommand> ToCommand(const v1::DeleteTaskRequest& request) {
  DeleteTaskCommand command;
  ASSIGN_OR_RETURN(command.task, CheckTaskId(FieldPath("task_id"), request.task_id()));
  return command;
}

absl::StatusOr<CancelTaskCommand> ToCommand(const v1::CancelTaskRequest& request, const ApiLimits& limits) {
  CancelTaskCommand command;
  ASSIGN_OR_RETURN(command.task, CheckTaskId(FieldPath("task_id"), request.task_id()));
  RETURN_IF_ERROR(CheckSize(FieldPath("reason"), request.reason(), 0, limits.text));
  command.reason = request.reason();
  return command;
}

absl::StatusOr<RetryTaskCommand> ToCommand(const v1::RetryTaskRequest& request) {
  RetryTaskCommand command;
  ASSIGN_OR_RETURN(command.task, CheckTaskId(FieldPath("task_id"), request.task_id()));
  return command;
}

absl::StatusOr<RetryPolicyChange> ToRetryPolicyChange(const FieldPath& at, const v1::RetryPolicy& policy,
                                                      const ApiLimits& limits) {
  RetryPolicyChange change;
  if (policy.max_attempts() != 0) {
    RETURN_IF_ERROR(CheckNumber(FieldPath(at, "max_attempts"), policy.max_attempts(), 1, limits.attempts));
    change.max_attempts = static_cast<uint32_t>(policy.max_attempts());
  }
  if (policy.has_initial_backoff()) {
    ASSIGN_OR_RETURN(change.initial_backoff, CheckSpan(FieldPath(at, "initial_backoff"), policy.initial_backoff(),
                                                       kMilli, limits.initial_backoff_max));
  }
  if (policy.backoff() != v1::BACKOFF_UNSPECIFIED) {
    if (!v1::Backoff_IsValid(policy.backoff())) {
      return BadField(FieldPath(at, "backoff"), fmt::format("{} is no backoff; valid are exponential, linear and fixed",
                                                            static_cast<int>(policy.backoff())));
    }
    change.backoff = static_cast<Backoff>(policy.backoff());
  }
  if (policy.multiplier() != 0) {
    // Whoever names a multiplier means a wait that is multiplied, whatever the queue's policy is.
    if (!change.backoff) change.backoff = Backoff::kExponential;
    if (change.backoff != Backoff::kExponential) {
      return BadField(FieldPath(at, "multiplier"), "counts with an exponential backoff only: leave it out");
    }
    RETURN_IF_ERROR(CheckReal(FieldPath(at, "multiplier"), policy.multiplier(), 1, 100));
    change.multiplier = policy.multiplier();
  }
  if (policy.has_max_backoff()) {
    ASSIGN_OR_RETURN(change.max_backoff, CheckSpan(FieldPath(at, "max_backoff"), policy.max_backoff(),
                                                   change.initial_backoff.value_or(kMilli), limits.postpone_max));
  }
  if (policy.has_jitter()) {
    RETURN_IF_ERROR(CheckReal(FieldPath(at, "jitter"), policy.jitter(), 0, 1));
    change.jitter = policy.jitter();
  }
  return change;
}

void ToProto(const RetryPolicy& policy, v1::RetryPolicy* out) {
  out->set_max_attempts(static_cast<int32_t>(policy.max_attempts));
  SetDuration(policy.initial_backoff, out->mutable_initial_backoff());
  if (policy.backoff == Backoff::kExponential) out->set_multiplier(policy.multiplier);
  SetDuration(policy.max_backoff, out->mutable_max_backoff());
  out->set_jitter(policy.jitter);
  out->set_backoff(static_cast<v1::Backoff>(policy.backoff));
}

absl::StatusOr<ExplainTaskCommand> ToCommand(const v1::ExplainTaskRequest& request) {
  ExplainTaskCommand command;
  ASSIGN_OR_RETURN(command.task, CheckTaskId(FieldPath("task_id"), request.task_id()));
  return command;
}

void ToProto(const SpanEstimate& estimate, v1::TimeEstimate* out) {
  // Beyond what a Duration holds nobody cares.
  const Span most = 100 * 365 * kDay;
  SetDuration(std::min(estimate.expected, most), out->mutable_expected());
  SetDuration(std::min(estimate.low, most), out->mutable_low());
  SetDuration(std::min(estimate.high, most), out->mutable_high());
}

// The core has the contract's numbers in words of its own; a reason that the contract gets is one of the core's, too.
static_assert(static_cast<int>(WaitReason::Code::kReclaim) == v1::WaitReason::Code_MAX);

void ToProto(const ExplainReply& explain, v1::ExplainTaskResponse* out) {
  out->set_state(ToProto(explain.state));
  for (const WaitReason& reason : explain.reasons) {
    v1::WaitReason* shown = out->add_reasons();
    shown->set_code(static_cast<v1::WaitReason::Code>(reason.code));
    shown->set_text(reason.text);
    for (TaskId task : reason.tasks) shown->add_task_ids(task.ToString());
    shown->set_throttle(reason.throttle);
    if (reason.until != 0) SetTimestamp(reason.until, shown->mutable_until());
  }
  if (!explain.waits) return;
  out->mutable_position()->set_expected(explain.before);
  out->mutable_position()->set_low(explain.before_low);
  out->mutable_position()->set_high(explain.before_high);
  if (explain.starts_in.known()) ToProto(explain.starts_in, out->mutable_starts_in());
}

void ToProto(const EnqueueResult& result, v1::EnqueueResult* out) {
  out->set_task_id(result.task.ToString());
  out->set_duplicate(result.duplicate);
  out->set_replaced(result.replaced);
}

absl::StatusOr<uint32_t> ToPageSize(int32_t page_size, const ApiLimits& limits) {
  if (page_size == 0) return limits.page_default;
  RETURN_IF_ERROR(CheckNumber(FieldPath("page_size"), page_size, 1, limits.page));
  return static_cast<uint32_t>(page_size);
}

}  // namespace penstock::broker
