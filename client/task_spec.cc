#include "client/task_spec.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "common/status.h"
#include "common/status_details.h"

namespace penstock {
namespace {

constexpr size_t kPayloadMax = 16 << 20;
constexpr absl::Duration kYear = absl::Hours(24 * 365);

absl::Status CheckName(std::string_view field, const std::string& name, size_t size_max = 128) {
  if (name.empty() || name.size() > size_max) {
    return InvalidField(field, "must have 1 to " + std::to_string(size_max) + " characters");
  }
  for (char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != ':' && c != '-' &&
        c != '/') {
      return InvalidField(field, "may hold A-Z a-z 0-9 . _ : - / only, is '" + name + "'");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSpan(std::string_view field, absl::Duration value, absl::Duration least, absl::Duration most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return InvalidField(field, "must be " + absl::FormatDuration(least) + " to " + absl::FormatDuration(most) + ", is " +
                                 absl::FormatDuration(value));
}

void Set(absl::Duration value, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(value, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
}

void Set(absl::Time value, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(value);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>((value - absl::FromUnixSeconds(seconds)) / absl::Nanoseconds(1)));
}

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

// "TASK_STATE_DEAD" without its prefix, in small letters and words.
std::string Words(std::string name, size_t prefix) {
  name.erase(0, prefix);
  absl::AsciiStrToLower(&name);
  for (char& c : name) {
    if (c == '_') c = ' ';
  }
  return name;
}

bool HasPolicy(const EnqueueOptions& options) {
  return options.max_attempts != 0 || options.initial_backoff != absl::ZeroDuration() ||
         options.backoff_multiplier != 0 || options.max_backoff != absl::ZeroDuration() ||
         options.backoff_jitter.has_value() || options.backoff.has_value();
}

absl::Status FillPolicy(const EnqueueOptions& options, v1::RetryPolicy* policy) {
  if (options.max_attempts < 0 || options.max_attempts > 1'000)
    return InvalidField("max_attempts", "must be 1 to 1000");
  policy->set_max_attempts(options.max_attempts);
  if (options.initial_backoff != absl::ZeroDuration()) {
    RETURN_IF_ERROR(CheckSpan("initial_backoff", options.initial_backoff, absl::Milliseconds(1), absl::Hours(24 * 30)));
    Set(options.initial_backoff, policy->mutable_initial_backoff());
  }
  if (options.backoff_multiplier != 0 && (options.backoff_multiplier < 1 || options.backoff_multiplier > 100)) {
    return InvalidField("backoff_multiplier", "must be 1 to 100");
  }
  if (options.backoff) {
    if (*options.backoff != BackoffKind::kExponential && options.backoff_multiplier != 0) {
      return InvalidField("backoff_multiplier", "counts with an exponential backoff only: leave it out");
    }
    policy->set_backoff(ToProto(*options.backoff));
  }
  policy->set_multiplier(options.backoff_multiplier);
  if (options.max_backoff != absl::ZeroDuration()) {
    RETURN_IF_ERROR(CheckSpan("max_backoff", options.max_backoff, absl::Milliseconds(1), kYear));
    Set(options.max_backoff, policy->mutable_max_backoff());
  }
  if (options.backoff_jitter) {
    if (*options.backoff_jitter < 0 || *options.backoff_jitter > 1)
      return InvalidField("backoff_jitter", "must be 0 to 1");
    policy->set_jitter(*options.backoff_jitter);
  }
  return absl::OkStatus();
}

}  // namespace

v1::Backoff ToProto(BackoffKind backoff) {
  switch (backoff) {
    case BackoffKind::kLinear:
      return v1::BACKOFF_LINEAR;
    case BackoffKind::kFixed:
      return v1::BACKOFF_FIXED;
    case BackoffKind::kExponential:
      break;
  }
  return v1::BACKOFF_EXPONENTIAL;
}

void SetPolicy(const TaskRetryPolicy& policy, EnqueueOptions* options) {
  options->max_attempts = policy.max_attempts;
  options->backoff = policy.backoff;
  options->initial_backoff = policy.initial_backoff;
  options->backoff_multiplier = policy.backoff_multiplier;
  options->max_backoff = policy.max_backoff;
  options->backoff_jitter = policy.backoff_jitter;
}

absl::Status FillTaskSpec(NewTask task, v1::TaskSpec* spec) {
  EnqueueOptions& options = task.options;
  RETURN_IF_ERROR(CheckName("queue", task.queue));
  RETURN_IF_ERROR(CheckName("type", task.type));
  if (task.payload.size() > kPayloadMax) return InvalidField("payload", "must be at most 16 MiB");
  spec->set_queue(std::move(task.queue));
  spec->set_type(std::move(task.type));
  spec->set_payload(std::move(task.payload));
  if (options.content_type.size() > 128) return InvalidField("content_type", "must be at most 128 bytes");
  spec->set_content_type(std::move(options.content_type));
  size_t header_bytes = 0;
  for (auto& [key, value] : options.headers) {
    if (key.empty() || key.size() > 256) return InvalidField("headers", "keys must have 1 to 256 bytes");
    header_bytes += key.size() + value.size();
    (*spec->mutable_headers())[key] = std::move(value);
  }
  if (header_bytes > 8 << 10) return InvalidField("headers", "must be at most 8 KiB together");
  if (options.priority) {
    if (*options.priority < 0 || *options.priority > 9) return InvalidField("priority", "must be 0 to 9");
    spec->set_priority(*options.priority);
  }
  if (options.run_at && options.delay != absl::ZeroDuration())
    return InvalidField("run_at", "set run_at or delay, not both");
  if (options.run_at) {
    Set(*options.run_at, spec->mutable_run_at());
  } else if (options.delay != absl::ZeroDuration()) {
    RETURN_IF_ERROR(CheckSpan("delay", options.delay, absl::ZeroDuration(), 100 * kYear));
    Set(options.delay, spec->mutable_delay());
  }
  if (options.expire_at) Set(*options.expire_at, spec->mutable_expire_at());
  if (options.start_within != absl::ZeroDuration()) {
    if (options.expire_at) return InvalidField("start_within", "set start_within or expire_at, not both");
    RETURN_IF_ERROR(CheckSpan("start_within", options.start_within, absl::Milliseconds(1), kYear));
    Set(options.start_within, spec->mutable_start_within());
  }
  if (options.life_timeout != absl::ZeroDuration()) {
    RETURN_IF_ERROR(CheckSpan("life_timeout", options.life_timeout, absl::Milliseconds(1), kYear));
    Set(options.life_timeout, spec->mutable_life_timeout());
  }
  if (options.run_timeout != absl::ZeroDuration()) {
    RETURN_IF_ERROR(CheckSpan("run_timeout", options.run_timeout, absl::Milliseconds(1), absl::Hours(24 * 30)));
    Set(options.run_timeout, spec->mutable_run_timeout());
  }
  if (HasPolicy(options)) RETURN_IF_ERROR(FillPolicy(options, spec->mutable_retry_policy()));
  if (!options.unique_key.empty()) {
    if (options.unique_key.size() > 256) return InvalidField("unique_key", "must be at most 256 bytes");
    RETURN_IF_ERROR(CheckSpan("unique_window", options.unique_window, absl::ZeroDuration(), kYear));
    spec->mutable_unique_key()->set_key(std::move(options.unique_key));
    if (options.unique_window != absl::ZeroDuration())
      Set(options.unique_window, spec->mutable_unique_key()->mutable_window());
    if (options.unique_while_waiting && options.unique_window != absl::ZeroDuration()) {
      return InvalidField("unique_while_waiting", "is for keys without a unique_window");
    }
    if (options.unique_while_waiting) spec->mutable_unique_key()->set_scope(v1::UNIQUE_SCOPE_WAITING);
    if (options.unique_conflict == UniqueConflict::kReplace) {
      spec->mutable_unique_key()->set_conflict(v1::UNIQUE_CONFLICT_REPLACE);
    } else if (options.unique_conflict == UniqueConflict::kDebounce) {
      spec->mutable_unique_key()->set_conflict(v1::UNIQUE_CONFLICT_DEBOUNCE);
    }
  } else if (options.unique_window != absl::ZeroDuration()) {
    return InvalidField("unique_window", "needs a unique_key");
  } else if (options.unique_while_waiting || options.unique_conflict != UniqueConflict::kKeep) {
    return InvalidField(options.unique_while_waiting ? "unique_while_waiting" : "unique_conflict",
                        "needs a unique_key");
  }
  if (options.key.size() > 256) return InvalidField("key", "must be at most 256 bytes");
  spec->set_key(std::move(options.key));
  if (options.group.size() > 256) return InvalidField("group", "must be at most 256 bytes");
  spec->set_group(std::move(options.group));
  if (options.cost < 1 || options.cost > 1'000) return InvalidField("cost", "must be 1 to 1,000");
  if (options.cost != 1) spec->set_cost(options.cost);
  if (options.result_retention) {
    RETURN_IF_ERROR(CheckSpan("result_retention", *options.result_retention, absl::ZeroDuration(), kYear));
    Set(*options.result_retention, spec->mutable_result_retention());
  }
  if (options.worker_labels.size() > 8) return InvalidField("worker_labels", "must be at most 8");
  for (auto& [key, value] : options.worker_labels) {
    RETURN_IF_ERROR(CheckName("worker_labels", key, 64));
    RETURN_IF_ERROR(CheckName("worker_labels", value, 64));
    (*spec->mutable_worker_labels())[key] = std::move(value);
  }
  if (options.tags.size() > 16) return InvalidField("tags", "must be at most 16");
  for (std::string& tag : options.tags) {
    if (tag.empty() || tag.size() > 128) return InvalidField("tags", "must have 1 to 128 bytes each");
    spec->add_tags(std::move(tag));
  }
  return absl::OkStatus();
}

absl::Status FillUpdate(TaskId id, const TaskChange& change, v1::UpdateTaskRequest* request) {
  if (change.run_at && change.delay) return InvalidField("run_at", "set run_at or delay, not both");
  // Checked as a new task's: what is not changed has a value that is right.
  NewTask task;
  task.queue = change.queue.value_or("queue");
  task.type = "type";
  task.payload = change.payload.value_or("");
  EnqueueOptions& options = task.options;
  options.content_type = change.content_type.value_or("");
  options.headers = change.headers.value_or(std::map<std::string, std::string>());
  options.tags = change.tags.value_or(std::vector<std::string>());
  options.priority = change.priority;
  options.run_at = change.run_at;
  options.delay = change.delay.value_or(absl::ZeroDuration());
  if (change.expire_at && *change.expire_at != absl::InfiniteFuture()) options.expire_at = change.expire_at;
  options.start_within = change.start_within.value_or(absl::ZeroDuration());
  options.life_timeout = change.life_timeout.value_or(absl::ZeroDuration());
  if (change.retry_policy) SetPolicy(*change.retry_policy, &options);
  options.worker_labels = change.worker_labels.value_or(std::map<std::string, std::string>());
  options.run_timeout = change.run_timeout.value_or(absl::ZeroDuration());
  options.result_retention = change.result_retention;
  options.group = change.group.value_or("");
  options.cost = change.cost.value_or(1);
  RETURN_IF_ERROR(FillTaskSpec(std::move(task), request->mutable_spec()));
  request->mutable_spec()->clear_type();
  if (!change.queue) request->mutable_spec()->clear_queue();
  request->set_task_id(id.ToString());
  if (change.revision) request->set_revision(*change.revision);
  google::protobuf::FieldMask& mask = *request->mutable_update_mask();
  if (change.queue) mask.add_paths("queue");
  if (change.payload) mask.add_paths("payload");
  if (change.content_type) mask.add_paths("content_type");
  if (change.headers) mask.add_paths("headers");
  if (change.tags) mask.add_paths("tags");
  if (change.priority) mask.add_paths("priority");
  if (change.run_at) mask.add_paths("run_at");
  if (change.delay) mask.add_paths("delay");
  if (change.expire_at) mask.add_paths("expire_at");
  if (change.start_within) mask.add_paths("start_within");
  if (change.life_timeout) mask.add_paths("life_timeout");
  if (change.retry_policy) mask.add_paths("retry_policy");
  if (change.run_timeout) mask.add_paths("run_timeout");
  if (change.result_retention) mask.add_paths("result_retention");
  if (change.group) mask.add_paths("group");
  if (change.cost) mask.add_paths("cost");
  if (change.worker_labels) mask.add_paths("worker_labels");
  return mask.paths().empty() ? InvalidField("change", "names nothing to change") : absl::OkStatus();
}

ChangedTask ToChangedTask(const v1::UpdateTaskResponse& response) {
  return {response.revision(), ToTime(response.run_time())};
}

FinishedTask ToFinishedTask(const v1::TaskEvent& event) {
  FinishedTask task;
  task.id = TaskId::Parse(event.task_id()).value_or(TaskId());
  task.state = static_cast<TaskState>(event.state());
  task.type = event.type();
  task.attempt = event.attempt();
  task.time = ToTime(event.time());
  if (event.dead_reason() != v1::DEAD_REASON_UNSPECIFIED) {
    task.dead_reason = Words(v1::DeadReason_Name(event.dead_reason()), sizeof("DEAD_REASON_") - 1);
  }
  return task;
}

// The library has the contract's numbers in words of its own; a reason that the contract gets is one of these, too.
static_assert(static_cast<int>(WaitReason::Code::kReclaim) == v1::WaitReason::Code_MAX);

TaskExplanation ToExplanation(const v1::ExplainTaskResponse& response) {
  TaskExplanation explanation;
  explanation.state = static_cast<TaskState>(response.state());
  for (const v1::WaitReason& reason : response.reasons()) {
    WaitReason& out = explanation.reasons.emplace_back();
    out.code = static_cast<WaitReason::Code>(reason.code());
    out.text = reason.text();
    for (const std::string& id : reason.task_ids()) out.tasks.push_back(TaskId::Parse(id).value_or(TaskId()));
    out.throttle = reason.throttle();
    if (reason.has_until()) out.until = ToTime(reason.until());
  }
  if (response.has_position()) {
    explanation.position = {response.position().expected(), response.position().low(), response.position().high()};
  }
  if (response.has_starts_in()) {
    const v1::TimeEstimate& in = response.starts_in();
    explanation.starts_in = {ToDuration(in.expected()), ToDuration(in.low()), ToDuration(in.high())};
  }
  return explanation;
}

TaskInfo ToTaskInfo(v1::Task task) {
  TaskInfo info;
  info.id = TaskId::Parse(task.task_id()).value_or(TaskId());
  info.state = static_cast<TaskState>(task.state());
  info.queue = task.spec().queue();
  info.type = task.spec().type();
  info.payload = std::move(*task.mutable_spec()->mutable_payload());
  info.revision = task.revision();
  info.attempt = task.attempt();
  for (auto& attempt : *task.mutable_attempts()) {
    TaskAttempt& out = info.attempts.emplace_back();
    out.number = attempt.number();
    out.worker = attempt.worker();
    out.start_time = ToTime(attempt.start_time());
    if (attempt.has_end_time()) {
      out.end_time = ToTime(attempt.end_time());
      out.outcome = Words(v1::AttemptOutcome_Name(attempt.outcome()), sizeof("ATTEMPT_OUTCOME_") - 1);
    }
    out.error_type = attempt.error().type();
    out.error_message = attempt.error().message();
    out.error_detail = attempt.error().detail();
  }
  info.progress_percent = task.progress().percent();
  info.progress_text = task.progress().text();
  if (task.progress().has_remaining()) info.remaining = ToDuration(task.progress().remaining());
  info.checkpoint = std::move(*task.mutable_checkpoint());
  info.worker = task.worker();
  info.result = std::move(*task.mutable_result());
  info.result_content_type = task.result_content_type();
  if (task.dead_reason() != v1::DEAD_REASON_UNSPECIFIED) {
    info.dead_reason = Words(v1::DeadReason_Name(task.dead_reason()), sizeof("DEAD_REASON_") - 1);
  }
  info.waiting_reason = task.waiting_reason();
  return info;
}

}  // namespace penstock
